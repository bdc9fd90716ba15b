/**
 * The records of one instance over its restarts: each start has a directory of its own, numbered upwards, so that the
 * output of the run that crashed is still there when the next one runs.
 * Invariant: at most the newest attempt has a running program; only the last `attemptsKept` are kept.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Clock, sleep } from '../base/index.ts'
import { type LastEnd, lastEndSchema } from '../protocol/index.ts'
import type { Exit, OutputOptions, Sandbox, SandboxDriver } from '../sandbox/index.ts'
import { Cores } from './cores.ts'
import { merged } from './merge.ts'
import { Notes } from './notes.ts'

const attemptsKept = 3
/** In the record of an attempt, and beside all of them: it was ready once. */
const servingFile = 'served'
/** Beside the records: the last end that nobody had asked for. */
const endFile = 'last-end.json'
/** Of the sentence about an end. */
const sentenceMax = 1000
/** How often a follower looks for the next attempt after one has ended. */
const followMs = 200

/** A line of output, or what the platform has to say beside it. */
export interface AttemptLine {
  readonly timeMs: number
  readonly text: string
  readonly by?: 'platform'
}

export class Attempts {
  readonly notes: Notes
  readonly cores: Cores
  readonly #root: string
  readonly #driver: SandboxDriver
  readonly #clock: Clock
  #lastEnd: LastEnd | null | undefined

  constructor(root: string, driver: SandboxDriver, clock: Clock) {
    this.#root = root
    this.#driver = driver
    this.#clock = clock
    this.notes = new Notes(join(root, 'notes.jsonl'), clock)
    this.cores = new Cores(root)
  }

  /** Numbers of the kept attempts, oldest first. */
  #numbers(): number[] {
    try {
      return readdirSync(this.#root)
        .map(Number)
        .filter((number) => Number.isInteger(number))
        .sort((a, b) => a - b)
    } catch {
      return []
    }
  }

  #dir(number: number): string {
    return join(this.#root, String(number))
  }

  /** The program of the newest attempt, running or ended; null when there is none. */
  async adopt(): Promise<Sandbox | null> {
    const newest = this.#numbers().at(-1)
    if (newest === undefined) return null
    const sandbox = await this.#driver.adopt(this.#dir(newest))
    if (sandbox !== null) this.cores.adopt(sandbox.id)
    return sandbox
  }

  /** Notes that the newest attempt serves, for an agent that finds it later. */
  noteServing(): void {
    const newest = this.#numbers().at(-1)
    if (newest === undefined) return
    writeFileSync(join(this.#dir(newest), servingFile), '')
    writeFileSync(join(this.#root, servingFile), '')
  }

  /** Whether the newest attempt has served. */
  hasServed(): boolean {
    const newest = this.#numbers().at(-1)
    return newest !== undefined && existsSync(join(this.#dir(newest), servingFile))
  }

  /** Whether any attempt has served; before there was a note beside them, one of those that are kept. */
  hasEverServed(): boolean {
    const places = [this.#root, ...this.#numbers().map((number) => this.#dir(number))]
    return places.some((place) => existsSync(join(place, servingFile)))
  }

  /**
   * Keeps how the newest attempt ended, though nobody had asked for it; a job may come to its end. A full disk costs the copy
   * for a later agent.
   */
  noteEnd({ cause, code, sentence }: Exit, kind: 'service' | 'job'): void {
    if (kind === 'job' && cause === 'code' && code === 0) return
    const core = this.cores.ended()
    const end = {
      timeMs: this.#clock.nowMs(),
      sentence: sentence.slice(0, sentenceMax),
      attempt: this.count(),
      ...(core === null ? {} : { core }),
    }
    this.#lastEnd = end
    try {
      writeFileSync(join(this.#root, endFile), JSON.stringify(end), { mode: 0o600 })
    } catch {
      // It is known as long as this agent runs.
    }
  }

  /** Lets a sandbox leave a core file, or notes why it will leave none. */
  leaveCore(sandbox: string, bytesMax: number | undefined): void {
    const refusal = this.cores.want(sandbox, bytesMax)
    if (refusal !== null) this.notes.add(refusal)
  }

  /** As it is told. */
  get status(): { readonly lastEnd?: LastEnd } {
    return this.lastEnd === null ? {} : { lastEnd: this.lastEnd }
  }

  /** The last end that nobody had asked for; null when there was none. */
  get lastEnd(): LastEnd | null {
    if (this.#lastEnd !== undefined) return this.#lastEnd
    try {
      this.#lastEnd = lastEndSchema.parse(JSON.parse(readFileSync(join(this.#root, endFile), 'utf8')))
    } catch {
      // There was none, or its record was cut short.
      this.#lastEnd = null
    }
    return this.#lastEnd
  }

  /** How many starts there have been, those whose records are gone included. */
  count(): number {
    return this.#numbers().at(-1) ?? 0
  }

  /** Number and directory for the next start; the oldest attempts make room. */
  async next(): Promise<{ number: number; recordDir: string }> {
    mkdirSync(this.#root, { recursive: true, mode: 0o711 })
    const numbers = this.#numbers()
    for (const old of numbers.slice(0, Math.max(0, numbers.length - attemptsKept + 1)))
      await this.#driver.remove(this.#dir(old))
    const number = (numbers.at(-1) ?? 0) + 1
    return { number, recordDir: this.#dir(number) }
  }

  /** Output of all kept attempts with the notes, oldest first; following goes on into attempts that come later. */
  async *output(options: OutputOptions): AsyncGenerator<AttemptLine> {
    const { follow = false, signal, tail } = options
    if (follow && signal !== undefined) {
      yield* merged<AttemptLine>([this.#printed(options), marked(this.notes.follow(signal))])
      return
    }
    const lines = await Array.fromAsync(this.#printed(options))
    const notes = this.notes.list().map((note) => ({ ...note, by: 'platform' as const }))
    const all = notes.length === 0 ? lines : [...lines, ...notes].toSorted((a, b) => a.timeMs - b.timeMs)
    yield* tail === undefined ? all : all.slice(-tail)
  }

  /** What the program has printed. */
  async *#printed(options: OutputOptions): AsyncGenerator<AttemptLine> {
    const { follow = false, signal, tail } = options
    const numbers = this.#numbers()
    const ended = follow ? numbers.slice(0, -1) : numbers
    const lines: AttemptLine[] = []
    for (const number of ended) {
      for await (const line of this.#driver.output(this.#dir(number), tail === undefined ? {} : { tail }))
        lines.push(line)
    }
    yield* tail === undefined ? lines : lines.slice(-tail)
    if (!follow) return
    let left = tail === undefined ? undefined : Math.max(0, tail - lines.length)
    const aborted = (): boolean => signal?.aborted === true
    // What an attempt that has ended printed is told once, and then its successor is waited for.
    let told = false
    for (let number = numbers.at(-1) ?? 0; !aborted();) {
      if (number > 0 && !told) {
        told = true
        yield* this.#driver.output(this.#dir(number), {
          follow,
          ...(signal && { signal }),
          ...(left === undefined ? {} : { tail: left }),
        })
      }
      const newer = this.#numbers().find((candidate) => candidate > number)
      if (newer !== undefined) {
        number = newer
        told = false
        left = undefined
      } else await sleep(this.#clock, followMs, signal).catch(() => {})
    }
  }

  /** Removes everything; the program must have ended. */
  async remove(): Promise<void> {
    this.cores.forget()
    for (const number of this.#numbers()) await this.#driver.remove(this.#dir(number))
    rmSync(this.#root, { recursive: true, force: true })
  }
}

async function* marked(notes: AsyncIterable<{ timeMs: number; text: string }>): AsyncGenerator<AttemptLine> {
  for await (const note of notes) yield { ...note, by: 'platform' }
}
