/**
 * What the platform has to say about an instance, kept beside its output. Invariants: at most `notesMax` are kept; no more
 * than `perMinuteMax` are taken in a minute, and the last of them says so.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { type Clock, systemCodeOf } from '../base/index.ts'

const notesMax = 200
const perMinuteMax = 20
const textMax = 500

export interface Note {
  readonly timeMs: number
  readonly text: string
}

export class Notes {
  readonly #path: string
  readonly #clock: Clock
  readonly #listeners = new Set<(note: Note) => void>()
  #notes: Note[] | null = null
  #minute = { sinceMs: 0, taken: 0 }

  /** `path` is the file they are kept in; it need not be there. */
  constructor(path: string, clock: Clock) {
    this.#path = path
    this.#clock = clock
  }

  add(text: string): void {
    const monotonicMs = this.#clock.monotonicMs()
    if (this.#minute.taken === 0 || monotonicMs - this.#minute.sinceMs > 60_000)
      this.#minute = { sinceMs: monotonicMs, taken: 0 }
    this.#minute.taken += 1
    if (this.#minute.taken > perMinuteMax) return
    const last = this.#minute.taken === perMinuteMax
    const note = {
      timeMs: this.#clock.nowMs(),
      text: last ? 'more of the like is not written down; see `stead status`' : text.slice(0, textMax),
    }
    const kept = [...this.list(), note].slice(-notesMax)
    this.#notes = kept
    for (const listener of this.#listeners) listener(note)
    try {
      writeFileSync(this.#path, kept.map((one) => `${JSON.stringify(one)}\n`).join(''), { mode: 0o600 })
    } catch {
      // A full disk costs the copy for after a restart, not the note.
    }
  }

  /** The kept ones, oldest first. */
  list(): readonly Note[] {
    this.#notes ??= this.#read()
    return this.#notes
  }

  /** Those that come from now on, until the signal aborts. */
  async *follow(signal: AbortSignal): AsyncGenerator<Note> {
    const waiting: Note[] = []
    let wake = (): void => {}
    const listener = (note: Note): void => {
      if (waiting.length < notesMax) waiting.push(note)
      wake()
    }
    const onAbort = (): void => wake()
    this.#listeners.add(listener)
    signal.addEventListener('abort', onAbort)
    try {
      while (!signal.aborted) {
        yield* waiting.splice(0)
        if (!signal.aborted && waiting.length === 0) await new Promise<void>((resolve) => (wake = resolve))
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#listeners.delete(listener)
    }
  }

  #read(): Note[] {
    try {
      const lines = readFileSync(this.#path, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
      return lines.map((line) => JSON.parse(line) as Note).slice(-notesMax)
    } catch (error) {
      // A line cut short by a crash costs the notes before it; they are no records of ours.
      if (systemCodeOf(error) === 'ENOENT' || error instanceof SyntaxError) return []
      throw error
    }
  }
}
