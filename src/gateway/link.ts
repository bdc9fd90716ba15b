/**
 * The gateway's line to control: says hello, takes every route table it is sent, and says which one is in force and which
 * instances that left it still have requests in flight. With control away it goes on with the table it has.
 */
import { type Clock, messageOf, type Random } from '../base/index.ts'
import { type Downward, downwardSchema, protocolVersion, type RouteTable, type Upward } from '../protocol/index.ts'
import { type Channel, dialForever, type TransportAddress } from '../transport/index.ts'
import type { GatewayEngine } from './engine.ts'
import { readTable, writeTable } from './saved-table.ts'

/** How often control is told again while instances drain. */
const drainReportMs = 200

/** How often control is told what went through, when something did. */
const trafficMs = 1000

export interface GatewayLinkOptions {
  /** Name of this gateway. */
  readonly name: string
  readonly gateway: Pick<GatewayEngine, 'apply' | 'inUse' | 'lostControl' | 'traffic'>
  /** File in which the last table is kept for the next start; null to keep none. */
  readonly tablePath?: string | null
  readonly clock: Clock
  readonly random: Random
  readonly onNotice: (text: string) => void
}

/** Keeps the gateway in step with control until disposed. */
export function connectGateway(
  { name, gateway, tablePath = null, clock, random, onNotice }: GatewayLinkOptions,
  control: TransportAddress,
): AsyncDisposable {
  let channel: Channel<Upward> | null = null
  let current: ReadonlySet<string> = new Set()
  const leaving = new Set<string>()
  let epoch = 0
  let revision = 0
  let timer: Disposable | null = null
  let lastReason = ''
  /** Control has heard nothing of the traffic yet over this channel. */
  let untold = true
  /** The last table that was to be applied: one after another. */
  let last: Promise<void> = Promise.resolve()
  let trafficTimer: Disposable | null = null

  const tellTraffic = (): void => {
    trafficTimer = clock.after(trafficMs, tellTraffic)
    const report = gateway.traffic(untold)
    if (channel === null || report === null) return
    channel.send({ type: 'traffic', report })
    untold = false
  }

  const report = (): void => {
    timer?.[Symbol.dispose]()
    for (const instance of leaving) if (gateway.inUse(instance) === 0) leaving.delete(instance)
    channel?.send({ type: 'applied', revision, busy: [...leaving] })
    timer = leaving.size > 0 ? clock.after(drainReportMs, report) : null
  }

  const take = async (table: RouteTable): Promise<void> => {
    revision = (await gateway.apply(table)).revision
    const all = [...table.routes, ...(table.streams ?? [])]
    const next = new Set(all.flatMap((route) => route.targets.map((target) => target.instance)))
    for (const instance of current) if (!next.has(instance)) leaving.add(instance)
    for (const instance of next) leaving.delete(instance)
    current = next
    report()
  }

  /** A table that is refused is told; the one before stays in force. */
  const refusable = (work: Promise<void>): Promise<void> =>
    work.catch((error: unknown) => onNotice(`the gateway keeps its table: ${messageOf(error)}`))

  const saved = tablePath === null ? null : readTable(tablePath)
  if (saved !== null) {
    epoch = saved.epoch
    last = refusable(take(saved.table))
    // Its health is that of the day it was written, until control is heard.
    gateway.lostControl()
  }
  /** The disk is no reason to route by an older table. */
  const save = (table: RouteTable): void => {
    try {
      if (tablePath !== null) writeTable(tablePath, { epoch, table })
    } catch (error) {
      onNotice(`the gateway could not keep its table: ${messageOf(error)}`)
    }
  }

  const link = dialForever<Upward, Downward>(control, {
    clock,
    random,
    schema: downwardSchema,
    onOpen: (opened) => {
      channel = opened
      opened.send({ type: 'hello', protocol: protocolVersion, role: 'gateway', name })
      untold = true
    },
    onMessage: (message) => {
      if (message.type === 'refused') return onNotice(message.message)
      if (message.type !== 'routes' || message.epoch < epoch) return
      epoch = message.epoch
      const { table } = message
      last = last.then(() => refusable(take(table).then(() => save(table))))
    },
    onDown: (reason) => {
      channel = null
      const own = reason.code === 'transport.closed-here'
      if (!own) gateway.lostControl()
      if (!own && reason.message !== lastReason) onNotice(`the gateway lost control: ${reason.message}`)
      lastReason = reason.message
    },
  })

  tellTraffic()

  return {
    async [Symbol.asyncDispose]() {
      timer?.[Symbol.dispose]()
      trafficTimer?.[Symbol.dispose]()
      await link[Symbol.asyncDispose]()
    },
  }
}
