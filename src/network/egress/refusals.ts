/**
 * What an instance was refused outside: kept for people to read, the same again only counted. Pure.
 *
 * Invariant: never more than `refusalsMax` entries, and every text in them is short and plain: it comes from a program
 * that may be hostile and goes to terminals.
 */

/** Most different refusals kept for one instance; the one not seen for longest makes room. */
export const refusalsMax: number = 32
const textMax = 300

export interface Refusal {
  /** looked-up: only its name was asked for. */
  readonly act: 'tried' | 'looked-up'
  /** `api.example.com:443`, `192.0.2.1:443`, or a bare name. */
  readonly what: string
  /** "not in its egress", and other ends of a sentence. */
  readonly why: string
  /** What to add to the part's `egress` to allow it; null when nothing would. */
  readonly declare: string | null
  readonly count: number
  readonly firstMs: number
  readonly lastMs: number
}

/** The ordinary reason. */
export const notDeclared: string = 'not in its egress'

export class Refusals {
  readonly #kept = new Map<string, Refusal>()
  #total = 0
  #different = 0

  /** Takes one in. Answers whether it is a new one. */
  add(refused: Pick<Refusal, 'act' | 'what' | 'why' | 'declare'>, nowMs: number): boolean {
    this.#total += 1
    const what = plain(refused.what)
    const key = `${refused.act} ${what} ${refused.why}`
    const before = this.#kept.get(key)
    if (before === undefined) this.#different += 1
    // Put in anew, so that the order is that of the last time.
    this.#kept.delete(key)
    const first = { ...refused, what, why: plain(refused.why), count: 0, firstMs: nowMs }
    this.#kept.set(key, { ...(before ?? first), count: (before?.count ?? 0) + 1, lastMs: nowMs })
    const [oldest] = this.#kept.keys()
    if (this.#kept.size > refusalsMax && oldest !== undefined) this.#kept.delete(oldest)
    return before === undefined
  }

  /** The newest first. */
  list(): readonly Refusal[] {
    return [...this.#kept.values()].reverse()
  }

  /** How many different ones there were; one that comes again after it was no longer kept counts anew. */
  get different(): number {
    return this.#different
  }

  /** How many there were, those that are no longer kept included. */
  get total(): number {
    return this.#total
  }
}

function plain(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, textMax)
}

/** "web tried api.example.com:443: not in its egress". */
export function describeRefusal(part: string, { act, what, why }: Pick<Refusal, 'act' | 'what' | 'why'>): string {
  return `${part} ${act === 'tried' ? 'tried' : 'looked up'} ${what}: ${why}`
}

/** What to write into the app file to allow it; null when nothing would. */
export function hintForRefusal(part: string, { declare }: Pick<Refusal, 'declare'>): string | null {
  if (declare === null) return null
  // No name of the outside is without a dot: this one is rather another part, which comes by being used.
  const [host = ''] = declare.split(':')
  if (/^[a-z][a-z0-9-]*$/.test(host))
    return `if ${host} is a part of this app, add it to the use of ${part} in the app file`
  return `if ${part} is to reach it, add to ${part} in the app file: egress: ['${declare}']`
}
