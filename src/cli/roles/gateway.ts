/** The way in on this machine: startable by itself. */
import type { Socket } from 'node:net'
import { systemClock as clock, systemRandom as random } from '../../base/index.ts'
import type { CertificateDriver } from '../../certificates/index.ts'
import { connectGateway, createGateway, type Gateway } from '../../gateway/index.ts'
import type { Endpoint, NetworkDriver } from '../../network/index.ts'
import type { Home } from '../home.ts'
import { controlAddress, localNode } from './local.ts'

export interface WayIn {
  /** How long its end waits for what is in flight. */
  readonly closeMs: number
  /** Address of ports that routes for TCP open. */
  readonly host: string
  /** Where it has its certificates; with null it speaks no TLS. They are told of every table's hosts by the way in itself. */
  readonly certificates: CertificateDriver | null
  readonly onNotice: (text: string) => void
}

/** Makes the way in, which listens nowhere yet. */
export function makeGateway(network: NetworkDriver, { closeMs, host, certificates, onNotice }: WayIn): Gateway {
  const connect = (endpoint: Endpoint): Socket => network.connect(endpoint)
  const secure = certificates === null ? {} : { certificates }
  return createGateway({ connect, ...secure, streamHost: host, onNotice, limits: { closeMs }, clock, random })
}

/** Keeps a gateway in step with control. */
export function linkGateway(
  home: Home,
  gateway: Gateway,
  tablePath: string | null,
  onNotice: (text: string) => void,
): AsyncDisposable {
  return connectGateway({ name: localNode, gateway, tablePath, clock, random, onNotice }, controlAddress(home))
}
