/**
 * Carries the streams of one edge: accepts at the edge's address in the caller's place, dials one of the edge's targets,
 * and copies bytes both ways. Targets may change while it runs: new streams go to the new ones, open streams stay where
 * they are and are counted, so that a target can be stopped when its last stream has ended.
 */
import { createServer, type Server, type Socket } from 'node:net'
import { type Clock, sleep } from '../base/index.ts'
import type { Endpoint, NetworkDriver, Place } from './network.ts'
import { carry } from './streams.ts'

/** One thing that an edge may lead to. `id` is the instance or resource, for counting. */
export interface Target {
  readonly id: string
  readonly endpoint: Endpoint
}

/** Most open streams of one edge; more are refused at once. */
export const streamsMax: number = 2000

export interface Forwarder extends AsyncDisposable {
  /** What the caller dials. */
  readonly address: string
  readonly port: number
  /** Open streams to a target. */
  streamsTo(id: string): number
  /**
   * Lets a successor take over: accepts for `acceptMs` more, because the successor may not listen yet, then ends each
   * stream once it has carried nothing for `idleMs`, and what is left after `endMs`. Resolves when all have ended.
   */
  handOver(times: HandOver): Promise<void>
  /** Totals since it was opened. */
  readonly counts: {
    readonly opened: number
    readonly failed: number
    readonly bytesIn: number
    readonly bytesOut: number
  }
}

/** How a forwarder goes when a successor comes. */
export interface HandOver {
  readonly clock: Clock
  readonly acceptMs: number
  readonly idleMs: number
  readonly endMs: number
}

export interface ForwarderOptions {
  readonly network: NetworkDriver
  readonly place: Place
  readonly address: string
  readonly port: number
  /** Asked for every new stream: the targets that are ready now. */
  readonly targets: () => readonly Target[]
}

/** Opens the listener and carries streams until disposed. */
export async function openForwarder({ network, place, address, port, targets }: ForwarderOptions): Promise<Forwarder> {
  const open = new Map<Socket, string>()
  const counts = { opened: 0, failed: 0, bytesIn: 0, bytesOut: 0 }

  const streamsTo = (id: string): number => [...open.values()].filter((target) => target === id).length

  const choose = (): Target | undefined => {
    // Fewest open streams first: connections are long-lived (database pools), so counting beats taking turns.
    const load = new Map<string, number>()
    for (const id of open.values()) load.set(id, (load.get(id) ?? 0) + 1)
    return targets().toSorted((a, b) => (load.get(a.id) ?? 0) - (load.get(b.id) ?? 0))[0]
  }

  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (caller) => {
    const target = open.size < streamsMax ? choose() : undefined
    if (target === undefined) {
      counts.failed += 1
      caller.resetAndDestroy()
      return
    }
    let callee: Socket
    try {
      callee = network.connect(target.endpoint)
    } catch {
      counts.failed += 1
      caller.resetAndDestroy()
      return
    }
    open.set(caller, target.id)
    counts.opened += 1
    carry(caller, callee, (failedBeforeFirstByte) => {
      if (failedBeforeFirstByte) counts.failed += 1
      counts.bytesIn += caller.bytesRead
      counts.bytesOut += caller.bytesWritten
      open.delete(caller)
    })
  })

  const bound = await place.listen(address, port, server)
  return {
    ...bound,
    streamsTo,
    counts,
    async handOver({ clock, acceptMs, idleMs, endMs }) {
      const untilMs = clock.monotonicMs() + endMs
      await sleep(clock, acceptMs)
      const closed = new Promise((resolve) => server.close(resolve))
      const carried = new Map<Socket, number>()
      while (open.size > 0 && clock.monotonicMs() < untilMs) {
        for (const caller of open.keys()) {
          const bytes = caller.bytesRead + caller.bytesWritten
          if (carried.get(caller) === bytes) caller.destroy()
          carried.set(caller, bytes)
        }
        await sleep(clock, idleMs)
      }
      for (const caller of open.keys()) caller.destroy()
      await closed
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const caller of open.keys()) caller.destroy()
      await closed
    },
  }
}
