/**
 * What every engine of the way in can do, and the list of what not every one can. An engine refuses a table that asks for
 * what it cannot; what it does in a weaker way it names.
 */
import type { RouteTable, TrafficReport } from '../protocol/index.ts'
import type { RouteMetrics } from './metrics.ts'
import type { Acknowledgement } from './table.ts'

/** Where an engine listens. */
export interface BoundAddress {
  readonly host: string
  readonly port: number
}

/** What differs between engines. */
export const engineFeatures = [
  'latency-histograms',
  'rejections-by-cause',
  'pages',
  'breakers',
  'safe-retries',
  'priorities',
  'groups',
  'sticky',
  'compression',
  'body-limit',
  'websocket-goodbye',
  'tls',
  'streams',
  'h2c',
  'hold',
] as const
export type EngineFeature = (typeof engineFeatures)[number]

/** `emulated`: in a weaker way, as `note` says. `refused`: a table that asks for it is not taken, or it is not there. */
export interface EngineCapability {
  readonly level: 'native' | 'emulated' | 'refused'
  readonly note: string
}

/** The way in, whatever carries the bytes. */
export interface GatewayEngine extends AsyncDisposable {
  readonly capabilities: Readonly<Record<EngineFeature, EngineCapability>>
  /** Starts to listen; port 0 chooses a free one. Throws `gateway.port-taken`, `gateway.port-refused`. */
  listen(port: number, host?: string): Promise<BoundAddress>
  /**
   * Routes by this table once it has returned, or resolved. Throws `gateway.duplicate-route`, `gateway.engine-cannot`, and
   * then keeps the table it has.
   */
  apply(table: RouteTable): Acknowledgement | Promise<Acknowledgement>
  /** Requests and WebSockets in flight to an instance, also after it has left the table. */
  inUse(instance: string): number
  /** Resolves when the instance is in no table any more and has nothing in flight. */
  drained(instance: string): Promise<void>
  metrics(): readonly RouteMetrics[]
  /** Control is not heard any more. */
  lostControl(): void
  /** What has changed since the last look at the counters, or everything; null when there is nothing to tell. */
  traffic(full: boolean): TrafficReport | null
  close(): Promise<void>
}
