/**
 * What this process holds of a server that knows no leases with an end of our choosing: messages belong to a connection until
 * they are settled or it breaks. The leases are kept here: when one is over, the message is given back, and its receipt is
 * void. A receipt is given once. Pure: time is passed in.
 */

interface InHand<Handle> {
  readonly queue: string
  readonly handle: Handle
  untilMs: number
}

export class Hands<Handle> {
  readonly #held = new Map<string, InHand<Handle>>()
  #last = 0
  /** No lease is over before this. */
  #nextMs = Number.POSITIVE_INFINITY

  /** Holds a message for its lease, or as long as its handler may work. Answers the receipt. */
  hold(queue: string, handle: Handle, leaseMs: number, keepMs: number, nowMs: number): string {
    const receipt = String((this.#last += 1))
    const untilMs = nowMs + Math.max(leaseMs, keepMs)
    this.#held.set(receipt, { queue, handle, untilMs })
    this.#nextMs = Math.min(this.#nextMs, untilMs)
    return receipt
  }

  /** The message of a receipt; null when it is not held any more. */
  get(queue: string, receipt: string, nowMs: number): Handle | null {
    const held = this.#held.get(receipt)
    return held === undefined || held.queue !== queue || held.untilMs <= nowMs ? null : held.handle
  }

  extend(receipt: string, untilMs: number): void {
    const held = this.#held.get(receipt)
    if (held === undefined) return
    held.untilMs = untilMs
    this.#nextMs = Math.min(this.#nextMs, untilMs)
  }

  forget(receipt: string): void {
    this.#held.delete(receipt)
  }

  /** Takes out those whose lease is over: they are to be given back. */
  overdue(nowMs: number): readonly Handle[] {
    const over: Handle[] = []
    this.#nextMs = Number.POSITIVE_INFINITY
    for (const [receipt, { handle, untilMs }] of this.#held) {
      if (untilMs > nowMs) this.#nextMs = Math.min(this.#nextMs, untilMs)
      else {
        this.#held.delete(receipt)
        over.push(handle)
      }
    }
    return over
  }

  /** When to look for leases that are over: too early after what was settled, never too late; null when nothing is held. */
  nextMs(): number | null {
    return this.#held.size === 0 ? null : this.#nextMs
  }

  /** Forgets what was held on something that has broken: the server gives it to others. */
  drop(broken: (handle: Handle) => boolean): void {
    for (const [receipt, { handle }] of this.#held) if (broken(handle)) this.#held.delete(receipt)
  }

  /** All that is held, of one kind. */
  all(): readonly Handle[] {
    return [...this.#held.values()].map(({ handle }) => handle)
  }
}
