/**
 * The addresses that an instance may dial now, each for the ports its name was declared with and for as long as the
 * record lives. Pure.
 *
 * Invariant: at most `pairsMax` pairs of address and port; what would be one too many is not admitted.
 */

/** Most pairs of address and port at a time: each is a listening socket. */
export const pairsMax: number = 256

/** A record that lives shorter is kept this long: programs look up a name once and dial a little later. */
export const lifeMinMs: number = 60_000
export const lifeMaxMs: number = 3_600_000

export interface Pair {
  readonly address: string
  readonly port: number
}

interface Admitted extends Pair {
  readonly name: string
  readonly untilMs: number
}

function keyOf({ address, port }: Pair): string {
  return `${address}:${port}`
}

export class AllowedAddresses {
  readonly #pairs = new Map<string, Admitted>()

  /** Admits addresses of a name for its ports; answers the pairs that are new, or null when they do not fit: then none is admitted. */
  admit(
    name: string,
    addresses: readonly { readonly address: string; readonly ttlSeconds: number }[],
    ports: readonly number[],
    nowMs: number,
  ): readonly Pair[] | null {
    const wanted = addresses.flatMap(({ address, ttlSeconds }) =>
      ports.map((port) => ({
        name,
        address,
        port,
        untilMs: nowMs + Math.min(Math.max(ttlSeconds * 1000, lifeMinMs), lifeMaxMs),
      })),
    )
    const fresh = wanted.filter((pair) => !this.#pairs.has(keyOf(pair)))
    if (this.#pairs.size + fresh.length > pairsMax) return null
    for (const pair of wanted) {
      const before = this.#pairs.get(keyOf(pair))
      this.#pairs.set(keyOf(pair), { ...pair, untilMs: Math.max(pair.untilMs, before?.untilMs ?? 0) })
    }
    return fresh
  }

  has(pair: Pair): boolean {
    return this.#pairs.has(keyOf(pair))
  }

  /** Names with a pair whose life ends within a time from now. */
  namesEndingBy(byMs: number): ReadonlySet<string> {
    return new Set([...this.#pairs.values()].filter((pair) => pair.untilMs <= byMs).map((pair) => pair.name))
  }

  /** Takes out what has lived its life, and answers it. */
  expire(nowMs: number): readonly Pair[] {
    const over = [...this.#pairs.values()].filter((pair) => pair.untilMs <= nowMs)
    for (const pair of over) this.#pairs.delete(keyOf(pair))
    return over
  }
}
