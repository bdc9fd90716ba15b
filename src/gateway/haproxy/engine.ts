/**
 * The way in with HAProxy carrying the bytes, for servers under load. Instances and paths are changed while it runs; only a
 * route that comes or goes, or another limit, takes a reload, in which the listening sockets are handed on. Invariants as
 * of the own engine: when `apply` has resolved no new request is routed by an older table, and an instance is drained when
 * it is in no table and no worker, old ones included, has anything in flight to it.
 */
import { readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { messageOf, systemClock } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import type { Endpoint } from '../../network/index.ts'
import type { RouteTable, TrafficReport } from '../../protocol/index.ts'
import type { BoundAddress, EngineCapability, EngineFeature, GatewayEngine } from '../engine.ts'
import { defaultLimits } from '../limits.ts'
import type { GatewayLimits } from '../limits.ts'
import { listenError } from '../listen-error.ts'
import type { RouteMetrics } from '../metrics.ts'
import type { Acknowledgement } from '../table.ts'
import { TrafficMeter } from '../traffic.ts'
import { changesOf } from './changes.ts'
import type { ServerPath } from './changes.ts'
import { modelOf, renderConfig, renderMap, renderStructure } from './config.ts'
import type { Model, Settings } from './config.ts'
import { Forwarders } from './forwarders.ts'
import { holdScript } from './hold.ts'
import { Master } from './master.ts'
import { countedBy, loadsOf } from './counts.ts'
import { engineFailed, parseStats } from './runtime.ts'

export interface HaproxyOptions {
  /** Opens a stream to an instance; a network driver's `connect`. For endpoints that HAProxy cannot reach itself. */
  readonly connect: (endpoint: Endpoint) => Socket
  /** A directory of its own, for sockets and configuration; its path has at most 70 characters. */
  readonly directory: string
  readonly program?: string
  readonly threads?: number
  readonly onDrained?: (instance: string) => void
  readonly onNotice?: (text: string) => void
  readonly limits?: Partial<GatewayLimits>
  readonly clock?: Clock
}

/** Where Debian puts it. */
export const haproxyProgram = '/usr/sbin/haproxy'

/** What HAProxy does not do, or does in another way. */
export const haproxyCapabilities: Readonly<Record<EngineFeature, EngineCapability>> = {
  'latency-histograms': { level: 'refused', note: 'HAProxy keeps averages of the last 1024 requests only' },
  'rejections-by-cause': { level: 'refused', note: 'its own answers are counted among the 4xx and 5xx' },
  pages: { level: 'emulated', note: 'text with the request id; no drawing, no JSON' },
  breakers: { level: 'refused', note: 'a refused connection is tried once at another instance, each time' },
  'safe-retries': { level: 'refused', note: 'only what was never sent is sent again' },
  priorities: { level: 'refused', note: 'a table with a priority other than normal is not taken' },
  groups: { level: 'emulated', note: 'weights in 256 steps of the largest; not counted by group' },
  sticky: { level: 'refused', note: 'a table with sticky routes is not taken' },
  compression: { level: 'emulated', note: 'gzip only, on routes that say compress: true' },
  'body-limit': { level: 'emulated', note: 'by Content-Length; a chunked body is not bounded' },
  'websocket-goodbye': { level: 'refused', note: 'WebSockets are cut off after cutMs' },
  tls: { level: 'refused', note: 'plain HTTP/1.1 only; TLS has to end before it' },
  streams: { level: 'refused', note: 'a table with ways in for TCP or TLS is not taken' },
  hold: {
    level: 'emulated',
    note: 'by a script; a route holds its most in each worker, and a reload begins a new one',
  },
  h2c: { level: 'refused', note: 'a table with instances that speak HTTP/2 is not taken' },
}

/** An instance that has left the table. */
interface Leaving {
  readonly sinceMs: number
  /** Its servers in any worker. */
  readonly paths: Set<ServerPath>
  /** Those that the worker in charge still has, disabled. */
  readonly parked: Set<ServerPath>
}

const watchMs = 100
const restMs = 1000

export class HaproxyGateway implements GatewayEngine {
  readonly capabilities: Readonly<Record<EngineFeature, EngineCapability>> = haproxyCapabilities
  readonly #options: HaproxyOptions
  readonly #clock: Clock
  readonly #limits: GatewayLimits
  readonly #master: Master
  readonly #forwarders: Forwarders
  readonly #meter = new TrafficMeter()
  readonly #binds: BoundAddress[] = []
  readonly #leaving = new Map<string, Leaving>()
  readonly #drainWaits = new Map<string, (() => void)[]>()
  readonly #carried = new Map<string, RouteMetrics>()
  #table: RouteTable = { revision: -1, routes: [] }
  #model: Model = { backends: [], map: new Map(), wildcards: [] }
  #loads: ReadonlyMap<string, number> = new Map()
  #counted: readonly RouteMetrics[] = []
  #last: Promise<unknown> = Promise.resolve()
  #timer: Disposable | null = null
  #closed = false

  constructor(options: HaproxyOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#limits = { ...defaultLimits, ...options.limits }
    this.#forwarders = new Forwarders(options.directory, options.connect)
    this.#master = new Master({
      program: options.program ?? haproxyProgram,
      directory: options.directory,
      clock: this.#clock,
      onGone: (said) => this.#gone(said),
    })
  }

  async listen(port: number, host = '127.0.0.1'): Promise<BoundAddress> {
    return this.#exclusive(async () => {
      const bound = await freeAddress(port, host)
      this.#binds.push(bound)
      await this.#makeDirectory()
      await this.#load(this.#model)
      this.#watch()
      return bound
    })
  }

  apply(table: RouteTable): Promise<Acknowledgement> {
    return this.#exclusive(async () => {
      if (table.revision < this.#table.revision) return { revision: this.#table.revision }
      // A table may come before there is an address to listen at: its forwarders listen in here.
      await this.#makeDirectory()
      const model = modelOf(table, this.#limits, ({ endpoint }) => this.#forwarders.addressOf(endpoint))
      const endpoints = (of: RouteTable): Endpoint[] =>
        of.routes.flatMap(({ targets }) => targets.map((one) => one.endpoint))
      await this.#forwarders.keep([...endpoints(this.#table), ...endpoints(table)])
      if (this.#binds.length > 0) await this.#change(model)
      else this.#model = model
      this.#table = table
      return { revision: table.revision }
    })
  }

  async #makeDirectory(): Promise<void> {
    await mkdir(this.#options.directory, { recursive: true, mode: 0o700 })
    await writeFile(this.#settings.holdPath, holdScript, { mode: 0o600 })
  }

  inUse(instance: string): number {
    return this.#loads.get(instance) ?? 0
  }

  drained(instance: string): Promise<void> {
    const present = this.#table.routes.some(({ targets }) => targets.some((one) => one.instance === instance))
    if (!present && !this.#leaving.has(instance)) return Promise.resolve()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#drainWaits.set(instance, [...(this.#drainWaits.get(instance) ?? []), resolve])
    return promise
  }

  metrics(): readonly RouteMetrics[] {
    return structuredClone(this.#counted)
  }

  traffic(full: boolean): TrafficReport | null {
    return this.#meter.look(this.#clock.monotonicMs(), this.#counted, [], full)
  }

  /** Its pages say nothing of health that could grow old. */
  lostControl(): void {}

  async close(): Promise<void> {
    if (this.#closed) return
    await this.#exclusive(async () => {
      this.#closed = true
      this.#timer?.[Symbol.dispose]()
      await this.#master.stop(this.#limits.closeMs)
      await this.#forwarders[Symbol.asyncDispose]()
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(() => {
      if (this.#closed) throw engineFailed('this gateway is closed')
      return work()
    })
    this.#last = result.catch(() => undefined)
    return result
  }

  get #settings(): Settings {
    const { directory, threads = 1 } = this.#options
    return {
      binds: this.#binds,
      threads,
      limits: this.#limits,
      connectionsMax: Math.min(this.#limits.connectionsMax, connectionsAllowed()),
      mapPath: join(directory, 'routes.map'),
      holdPath: join(directory, 'hold.lua'),
      againPath: join(directory, 'again.sock'),
      socketPath: this.#master.workerSocket,
    }
  }

  async #load(model: Model): Promise<void> {
    await writeFile(this.#settings.mapPath, renderMap(model), { mode: 0o600 })
    await this.#master.load(renderConfig(model, this.#settings))
  }

  async #change(model: Model): Promise<void> {
    const parked = new Set([...this.#leaving.values()].flatMap((leaving) => [...leaving.parked]))
    const changes = changesOf(this.#model, model, parked)
    const reload = renderStructure(this.#model, this.#settings) !== renderStructure(model, this.#settings)
    if (reload) {
      await this.#look()
      await this.#load(model)
      this.#carry()
      const { old } = await this.#master.workers()
      for (const pid of old) for (const command of changes.go) await this.#master.askOld(pid, command)
      // The new worker never had them.
      for (const leaving of this.#leaving.values()) leaving.parked.clear()
    } else {
      await this.#master.tell(changes.come)
      if (changes.map) await this.#replaceMap(model)
      await this.#master.tell(changes.go)
    }
    this.#model = model
    const now = new Set(model.backends.flatMap(({ servers }) => servers.map(({ instance }) => instance)))
    for (const instance of now) this.#leaving.delete(instance)
    const sinceMs = this.#clock.monotonicMs()
    for (const { instance, path } of changes.left) {
      if (now.has(instance)) continue
      const leaving = this.#leaving.get(instance) ?? { sinceMs, paths: new Set(), parked: new Set() }
      leaving.paths.add(path)
      if (!reload) leaving.parked.add(path)
      this.#leaving.set(instance, leaving)
      this.#loads = new Map([...this.#loads, [instance, Math.max(1, this.inUse(instance))]])
    }
    this.#watch()
  }

  async #replaceMap(model: Model): Promise<void> {
    const { mapPath } = this.#settings
    await writeFile(mapPath, renderMap(model), { mode: 0o600 })
    const version = /New version created: (\d+)/.exec(await this.#master.ask(`prepare map ${mapPath}`))?.[1]
    if (version === undefined) throw engineFailed('HAProxy does not take a new map')
    if (model.map.size > 0) await this.#master.ask(`add map @${version} ${mapPath} <<\n${renderMap(model)}`)
    await this.#master.ask(`commit map @${version} ${mapPath}`)
  }

  /** Looks at what is in flight and at the counters again and again: often while something drains. */
  #watch(): void {
    this.#timer?.[Symbol.dispose]()
    if (this.#closed) return
    this.#timer = this.#clock.after(this.#leaving.size > 0 ? watchMs : restMs, () => {
      this.#exclusive(() => this.#look())
        .catch((error: unknown) => this.#options.onNotice?.(messageOf(error)))
        .finally(() => this.#watch())
    })
  }

  async #look(): Promise<void> {
    const { old } = await this.#master.workers()
    const rows = parseStats(await this.#master.ask('show stat'))
    const before = await Promise.all(old.map((pid) => this.#master.askOld(pid, 'show stat')))
    const all = [rows, ...before.map(parseStats)]
    const known = [...this.#model.backends]
    this.#counted = known.map((backend) => countedBy(backend, rows, this.#carried.get(backend.route.id)))
    const byServer = loadsOf(all)
    const loads = new Map<string, number>()
    for (const { servers, name } of known)
      for (const server of servers) {
        const load = byServer.get(`${name}/${server.name}`) ?? 0
        loads.set(server.instance, (loads.get(server.instance) ?? 0) + load)
      }
    const drained: [string, ReadonlySet<ServerPath>][] = []
    for (const [instance, { paths, parked, sinceMs }] of this.#leaving) {
      const load = [...paths].reduce((sum, path) => sum + (byServer.get(path) ?? 0), 0)
      if (load === 0) drained.push([instance, parked])
      else loads.set(instance, load)
      if (load === 0 || this.#clock.monotonicMs() - sinceMs <= this.#limits.cutMs) continue
      const cut = [...paths].map((path) => `shutdown sessions server ${path}`)
      await this.#master.tell(cut)
      for (const pid of old) for (const command of cut) await this.#master.askOld(pid, command)
    }
    this.#loads = loads
    for (const one of drained) await this.#drained(...one)
  }

  /** A reload: what the last worker has counted is kept, and the new one starts from nothing. */
  #carry(): void {
    for (const counted of this.#counted) this.#carried.set(counted.labels.route, counted)
  }

  /** HAProxy has ended by itself: starts it again. */
  #gone(said: string): void {
    this.#options.onNotice?.(`HAProxy has ended and is started again: ${said.trim().split('\n').at(-1) ?? ''}`)
    this.#carry()
    this.#exclusive(() => this.#load(this.#model)).catch((error: unknown) => {
      this.#options.onNotice?.(messageOf(error))
      this.#clock.after(restMs, () => this.#gone(said))
    })
  }

  async #drained(instance: string, parked: ReadonlySet<ServerPath>): Promise<void> {
    await this.#master.tell([...parked].map((path) => `del server ${path}`))
    this.#leaving.delete(instance)
    for (const resolve of this.#drainWaits.get(instance) ?? []) resolve()
    this.#drainWaits.delete(instance)
    this.#options.onDrained?.(instance)
  }
}

/** Chooses a port when none is named, and finds out who has it when it is taken: HAProxy would only say that it is. */
async function freeAddress(port: number, host: string): Promise<BoundAddress> {
  const probe = createServer().listen(port, host)
  try {
    await once(probe, 'listening')
  } catch (error) {
    throw await listenError(error, host, port)
  }
  const address = probe.address()
  probe.close()
  await once(probe, 'close')
  return address !== null && typeof address === 'object'
    ? { host: address.address, port: address.port }
    : { host, port }
}

/** Each connection of a client has another one to an instance; some descriptors are for HAProxy itself. */
function connectionsAllowed(): number {
  const open = /^Max open files\s+\d+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
  return open === undefined ? 500 : Math.max(10, Math.floor(Number(open) / 2) - 100)
}
