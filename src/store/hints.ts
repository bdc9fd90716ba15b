/**
 * Who watches what. A hint is only ever extra: it is given at most once a turn of the event loop to each watch, never
 * inside the commit that caused it, and says nothing but "look again".
 */
import { checkSize } from './limits.ts'
import { watchesMax } from './store.ts'

interface Watch {
  readonly prefix: string
  readonly onHint: () => void
  pending: boolean
}

/** The open watches of one store. */
export class Hints {
  readonly #watches = new Set<Watch>()

  /** Calls `onHint` after changes under `prefix`, until disposed. Throws `store.too-large` beyond `watchesMax`. */
  watch(prefix: string, onHint: () => void): Disposable {
    checkSize('the store', 'open watches', this.#watches.size + 1, watchesMax)
    const watch = { prefix, onHint, pending: false }
    this.#watches.add(watch)
    return { [Symbol.dispose]: () => void this.#watches.delete(watch) }
  }

  /** Something may have changed under these keys; null: anywhere. */
  changed(keys: Iterable<string> | null): void {
    const list = keys === null ? null : [...keys]
    for (const watch of this.#watches) {
      if (watch.pending || !(list?.some((key) => key.startsWith(watch.prefix)) ?? true)) continue
      watch.pending = true
      setImmediate(() => {
        watch.pending = false
        if (this.#watches.has(watch)) watch.onHint()
      })
    }
  }

  /** Forgets every watch. */
  close(): void {
    this.#watches.clear()
  }
}
