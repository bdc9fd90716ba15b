/** How far a copy is, for a person who waits: one line on a terminal, after a second. */
import { paint, size } from './terminal.ts'

const quietMs = 1000
const everyMs = 200

export class Transfer implements Disposable {
  readonly #what: string
  readonly #total: number | null
  readonly #startMs = performance.now()
  readonly #timer: NodeJS.Timeout | null
  #bytes = 0
  #shown = false

  /** `total`: bytes in all; null where nobody knows. */
  constructor(what: string, total: number | null, isShown: boolean) {
    this.#what = what
    this.#total = total
    this.#timer = isShown && process.stderr.isTTY ? setInterval(() => this.#show(), everyMs) : null
  }

  get bytes(): number {
    return this.#bytes
  }

  /** The same bytes, counted. */
  async *counted(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const piece of pieces) {
      this.#bytes += piece.length
      yield piece
    }
  }

  #show(): void {
    const ms = performance.now() - this.#startMs
    if (ms < quietMs) return
    const share =
      this.#total === null || this.#total === 0 ? '' : ` ${Math.floor((this.#bytes / this.#total) * 100)} %,`
    const line = `${this.#what} …${share} ${size(this.#bytes)}, ${size((this.#bytes / ms) * 1000)}/s`
    process.stderr.write(`\r\u001b[2K  ${paint('dim', line, process.stderr)}`)
    this.#shown = true
  }

  [Symbol.dispose](): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    if (this.#shown) process.stderr.write('\r\u001b[2K')
  }
}
