/** Zones and racks by number. Numbers are given once and never again, so that counts by number stay true. */
import { tooLarge } from './errors.ts'
import { domainsMax } from './limits.ts'

export class Domains {
  readonly names: string[] = []
  readonly #what: string
  readonly #numbers = new Map<string, number>()

  /** `what` is the word for errors: 'zones', 'racks'. */
  constructor(what: string) {
    this.#what = what
  }

  get size(): number {
    return this.names.length
  }

  /** The number of a name; the first to ask adds it. Throws `scheduler.too-large`. */
  number(name: string): number {
    const known = this.#numbers.get(name)
    if (known !== undefined) return known
    if (this.names.length >= domainsMax) throw tooLarge(this.#what, domainsMax)
    this.#numbers.set(name, this.names.length)
    return this.names.push(name) - 1
  }

  known(name: string): number | undefined {
    return this.#numbers.get(name)
  }
}
