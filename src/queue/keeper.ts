/**
 * Keeps the leases of a driver whose server knows only leases that run out: while a handler may still work, its lease is
 * extended at a third of its length. Which to extend when is a pure book; the timer and the driver are around it. Where the
 * driver runs in a thread, this runs there too, and a busy program does not lose its messages.
 */
import type { Clock } from '../base/index.ts'
import type { Held, QueueDriver, Settlement, Want } from './driver.ts'

interface Kept {
  readonly leaseMs: number
  /** The holder's time is over then, and the lease is left to run out. */
  readonly untilMs: number
  nextMs: number
}

/** Which leases to extend, and when. */
export class LeaseBook {
  /** By queue and receipt. */
  readonly #kept = new Map<string, Map<string, Kept>>()
  #nextMs = Number.POSITIVE_INFINITY

  hold(queue: string, receipt: string, leaseMs: number, keepMs: number, nowMs: number): void {
    const own = this.#kept.get(queue) ?? new Map<string, Kept>()
    if (own.size === 0) this.#kept.set(queue, own)
    const kept = { leaseMs, untilMs: nowMs + keepMs, nextMs: nowMs + leaseMs / 3 }
    own.set(receipt, kept)
    this.#nextMs = Math.min(this.#nextMs, kept.nextMs)
  }

  /** Settled, or lost. */
  forget(queue: string, receipt: string): void {
    this.#kept.get(queue)?.delete(receipt)
  }

  /** Settlements that are due, by queue; each is due again after another third. */
  due(nowMs: number): ReadonlyMap<string, readonly Settlement[]> {
    const due = new Map<string, Settlement[]>()
    this.#nextMs = Number.POSITIVE_INFINITY
    for (const [queue, own] of this.#kept) {
      const settlements: Settlement[] = []
      for (const [receipt, kept] of own) {
        if (kept.untilMs <= nowMs) {
          own.delete(receipt)
          continue
        }
        if (kept.nextMs <= nowMs) {
          kept.nextMs = nowMs + kept.leaseMs / 3
          settlements.push({ receipt, decision: { kind: 'extend', leaseMs: kept.leaseMs } })
        }
        this.#nextMs = Math.min(this.#nextMs, kept.nextMs)
      }
      if (settlements.length > 0) due.set(queue, settlements)
      if (own.size === 0) this.#kept.delete(queue)
    }
    return due
  }

  /** When something may be due next: too early after what was forgotten, never too late; Infinity when nothing is kept. */
  get nextMs(): number {
    return this.#nextMs
  }
}

/** The driver with its leases kept. Takes over `driver`: closing this closes it. */
export function keepingLeases(driver: QueueDriver, clock: Clock): QueueDriver {
  const book = new LeaseBook()
  let timer: Disposable | undefined
  let timerMs = Number.POSITIVE_INFINITY
  const plan = (): void => {
    if (book.nextMs >= timerMs) return
    timer?.[Symbol.dispose]()
    timerMs = book.nextMs
    timer = clock.after(Math.max(1, timerMs - clock.monotonicMs()), extend)
  }
  const extend = (): void => {
    timerMs = Number.POSITIVE_INFINITY
    for (const [queue, settlements] of book.due(clock.monotonicMs())) {
      driver.settle(queue, settlements).then(
        (outcomes) => {
          for (const [index, { receipt }] of settlements.entries()) {
            if (outcomes[index] === 'lost') book.forget(queue, receipt)
          }
        },
        // The server is away: the next third tries again, and if all fail the lease runs out, as it must.
        () => {},
      )
    }
    plan()
  }
  return {
    name: driver.name,
    server: driver.server,
    capabilities: driver.capabilities,
    limits: driver.limits,
    declare: (queue) => driver.declare(queue),
    send: (queue, messages) => driver.send(queue, messages),
    async receive(queue: string, want: Want, signal: AbortSignal): Promise<readonly Held[]> {
      const held = await driver.receive(queue, want, signal)
      if (want.keepMs > 0 && held.length > 0) {
        const nowMs = clock.monotonicMs()
        for (const { receipt } of held) book.hold(queue, receipt, want.leaseMs, want.keepMs, nowMs)
        plan()
      }
      return held
    },
    async settle(queue, settlements) {
      for (const { receipt, decision } of settlements) if (decision.kind !== 'extend') book.forget(queue, receipt)
      return driver.settle(queue, settlements)
    },
    counts: (queue) => driver.counts(queue),
    peek: (queue, shelf, max) => driver.peek(queue, shelf, max),
    redrive: (queue, max, ids) => driver.redrive(queue, max, ids),
    purge: (queue, shelf) => driver.purge(queue, shelf),
    remove: (queue) => driver.remove(queue),
    async close() {
      timer?.[Symbol.dispose]()
      await driver.close()
    },
  }
}
