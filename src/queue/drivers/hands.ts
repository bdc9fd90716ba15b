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

  /** Holds a message for its lease, or as long as its handler may work. Answers the receipt. */
  hold(queue: string, handle: Handle, leaseMs: number, keepMs: number, nowMs: number): string {
    const receipt = String((this.#last += 1))
    this.#held.set(receipt, { queue, handle, untilMs: nowMs + Math.max(leaseMs, keepMs) })
    return receipt
  }

  /** The message of a receipt; null when it is not held any more. */
  get(queue: string, receipt: string, nowMs: number): Handle | null {
    const held = this.#held.get(receipt)
    return held === undefined || held.queue !== queue || held.untilMs <= nowMs ? null : held.handle
  }

  extend(receipt: string, untilMs: number): void {
    const held = this.#held.get(receipt)
    if (held !== undefined) held.untilMs = untilMs
  }

  forget(receipt: string): void {
    this.#held.delete(receipt)
  }

  /** Takes out those whose lease is over: they are to be given back. */
  overdue(nowMs: number): readonly Handle[] {
    const over = [...this.#held].filter(([, { untilMs }]) => untilMs <= nowMs)
    for (const [receipt] of over) this.#held.delete(receipt)
    return over.map(([, { handle }]) => handle)
  }

  /** When the next lease is over; null when nothing is held. */
  nextMs(): number | null {
    let next: number | null = null
    for (const { untilMs } of this.#held.values()) next = next === null ? untilMs : Math.min(next, untilMs)
    return next
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
