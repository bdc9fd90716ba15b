/**
 * Shares what a node's network carries among instances that dial outside, by two classes: a guaranteed rate is held back for
 * its instance, which gets it and no more; what is left is shared equally by all others, as they come and go.
 *
 * Invariant: while it is known what the network carries, guaranteed rates and shares together never come to more.
 */
import { messageOf, SteadError } from '../base/index.ts'
import type { Outside } from './network.ts'

/** Everybody can send a little. */
const rateMin = 64_000
/** Of what the network carries, what is not guaranteed to anybody. */
const leftShareMin = 0.05

export interface RateWish {
  readonly id: string
  /** Bits per second; null: best effort. */
  readonly guaranteed: number | null
  /** Somebody else has counted that it is left, such as a scheduler; see `leftForCounted`. */
  readonly isCounted?: boolean
}

/** The rates of all, in bits per second; null: without a bound. `carries`: what the network can, where that is known. */
export function sharesOf(carries: number | null, wishes: readonly RateWish[]): ReadonlyMap<string, number | null> {
  const others = wishes.filter(({ guaranteed }) => guaranteed === null).length
  const left = carries === null ? null : carries - guaranteedIn(wishes)
  const share = left === null ? null : Math.max(rateMin, Math.floor(left / Math.max(1, others)))
  return new Map(wishes.map(({ id, guaranteed }) => [id, guaranteed ?? share]))
}

function guaranteedIn(wishes: readonly RateWish[]): number {
  return wishes.reduce((sum, { guaranteed }) => sum + (guaranteed ?? 0), 0)
}

interface Member extends RateWish {
  readonly outside: Outside
  /** What it was given last; undefined: nothing yet. */
  given: number | null | undefined
}

export interface RatesOptions {
  /** Whether the kernel holds rates here. */
  readonly holds: boolean
  readonly onNotice: (text: string) => void
}

/** Those of one node. */
export class Rates {
  readonly #options: RatesOptions
  readonly #members = new Map<string, Member>()
  #carries: number | null = null
  #work: Promise<void> = Promise.resolve()

  constructor(options: RatesOptions) {
    this.#options = options
  }

  /** What the network carries from now on, in bits per second; null: that is not known, and nobody's share is bounded. */
  carries(bits: number | null): void {
    if (bits === this.#carries) return
    this.#carries = bits
    void this.#settle().catch((error: unknown) => this.#options.onNotice(messageOf(error)))
  }

  /**
   * An instance dials outside from now on, within its rate; until it is disposed. Throws `network.no-rate` when what it is
   * to be guaranteed is not left, or cannot be held.
   */
  async join(wish: RateWish, outside: Outside): Promise<Disposable> {
    const { guaranteed, id } = wish
    if (guaranteed !== null) this.#check(wish, guaranteed)
    const member: Member = { ...wish, outside, given: undefined }
    this.#members.set(id, member)
    try {
      if (this.#options.holds) await this.#settle()
    } catch (error) {
      this.#leave(member)
      if (guaranteed !== null) throw error
      this.#options.onNotice(messageOf(error))
    }
    return { [Symbol.dispose]: () => this.#leave(member) }
  }

  /** What may be guaranteed to all that somebody else counts, together; null: nobody has said what the network carries. */
  leftForCounted(carries: number | null): number | null {
    if (carries === null || !this.#options.holds) return null
    const others = [...this.#members.values()].filter(({ isCounted }) => isCounted !== true)
    return Math.max(0, Math.floor(carries * (1 - leftShareMin)) - guaranteedIn(others))
  }

  #check({ id, isCounted = false }: RateWish, guaranteed: number): void {
    if (!this.#options.holds)
      throw noRate(`the rate of ${id} cannot be held on this machine`, 'See `stead doctor`; leave limits.network out.')
    if (this.#carries === null) return
    // What others count, they have counted; what they did not know of, they are told of too late now and then.
    const others = [...this.#members.values()].filter(
      (member) => member.id !== id && !(isCounted && member.isCounted === true),
    )
    const most = Math.floor(this.#carries * (1 - leftShareMin)) - guaranteedIn(others)
    if (guaranteed > most)
      throw noRate(
        `${id} is to be guaranteed ${guaranteed} bit/s, and ${Math.max(0, most)} bit/s of what the network of this node carries are left`,
        'Ask for less with limits.network, or see that its owner says more in node.json, if it carries more.',
      )
  }

  #leave(member: Member): void {
    if (this.#members.get(member.id) !== member) return
    this.#members.delete(member.id)
    void this.#settle().catch((error: unknown) => this.#options.onNotice(messageOf(error)))
  }

  /** One after another: the last word is that of what stands then. */
  #settle(): Promise<void> {
    const settled = this.#work.then(async () => {
      const rates = sharesOf(this.#carries, [...this.#members.values()])
      // Who gets less goes first, so that at no time more is given than there is.
      const changed = [...this.#members.values()]
        .map((member) => ({ member, rate: rates.get(member.id) ?? null }))
        .filter(({ member, rate }) => rate !== (member.given ?? null))
        .sort((a, b) => gain(a) - gain(b))
      for (const { member, rate } of changed) {
        await member.outside.shape(rate)
        member.given = rate
      }
    })
    this.#work = settled.catch(() => undefined)
    return settled
  }
}

function gain({ member, rate }: { readonly member: Member; readonly rate: number | null }): number {
  return (rate ?? Infinity) - (member.given ?? Number.MAX_SAFE_INTEGER)
}

function noRate(message: string, hint: string): SteadError {
  return new SteadError({ code: 'network.no-rate', message, hint, retry: 'later' })
}
