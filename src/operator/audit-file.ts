/**
 * The record on disk: files named by the number of their first line, the newest being written, and beside them the end of
 * the chain, so that a cut shows. Invariants: append only; a line that was promised to be durable is on disk before the
 * promise resolves; never more than `filesMax` files of about `fileBytesMax`.
 */
import { randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type Clock, messageOf, SteadError, systemCodeOf } from '../base/index.ts'
import {
  decodeLine,
  emptyHead,
  encodeLine,
  type Event,
  type Head,
  type Line,
  nextLine,
  type Verdict,
  Verifier,
} from './audit.ts'

export interface AuditLimits {
  readonly fileBytesMax: number
  /** The oldest goes when there are more. */
  readonly filesMax: number
}

const usual: AuditLimits = { fileBytesMax: 8 * 1024 ** 2, filesMax: 8 }
/** Kept back on disk, and given up when it is full: room for some hundred lines, to mend that with what is recorded. */
const reserveBytes = 256 * 1024
/** Lines that may wait for the disk. */
const waitingMax = 10_000

interface Waiting {
  readonly event: Event
  readonly durable: boolean
  readonly resolve: (line: Line) => void
  readonly reject: (error: unknown) => void
}

export interface LineFilter {
  readonly app: string | null
  readonly who: string | null
  /** Milliseconds since 1970. */
  readonly sinceMs: number | null
}

/** Opens the record in a directory, made when missing. A line that a crash cut in half is taken away. */
export async function openAudit(directory: string, clock: Clock, limits: AuditLimits = usual): Promise<AuditRecord> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const names = await filesIn(directory)
  const name = names.at(-1) ?? nameOf(1)
  const file = await open(join(directory, name), 'a+', 0o600)
  const text = await readFile(join(directory, name), 'utf8')
  const whole = text.slice(0, text.lastIndexOf('\n') + 1)
  const sizeBytes = Buffer.byteLength(whole)
  if (whole.length < text.length) await file.truncate(sizeBytes)
  const last = decodeLine(whole.trimEnd().split('\n').at(-1) ?? '')
  await keepReserve(directory)
  const known = await readHead(directory)
  // When the lines end before what was written, or in another way, the next one hangs on what was written: the gap shows.
  const head = known !== null && (last === null || known.n >= last.n) ? known : (last ?? emptyHead)
  return new AuditRecord(directory, clock, limits, {
    file,
    sizeBytes,
    names: names.length === 0 ? [name] : names,
    head,
  })
}

interface Opened {
  readonly file: FileHandle
  readonly sizeBytes: number
  readonly names: readonly string[]
  readonly head: Head
}

/** Made by `openAudit`. */
export class AuditRecord implements AsyncDisposable {
  readonly #directory: string
  readonly #clock: Clock
  readonly #limits: AuditLimits
  #file: FileHandle
  #sizeBytes: number
  #names: readonly string[]
  #head: Head
  #waiting: Waiting[] = []
  #work: Promise<void> | null = null

  constructor(directory: string, clock: Clock, limits: AuditLimits, { file, sizeBytes, names, head }: Opened) {
    this.#directory = directory
    this.#clock = clock
    this.#limits = limits
    this.#file = file
    this.#sizeBytes = sizeBytes
    this.#names = names
    this.#head = { n: head.n, hash: head.hash }
  }

  /** Writes a line. `durable`: resolves when it is on disk for good. Throws `operator.not-recorded`. */
  append(event: Event, durable: boolean): Promise<Line> {
    const { promise, resolve, reject } = Promise.withResolvers<Line>()
    if (this.#waiting.length >= waitingMax) reject(notRecorded(new Error(`${waitingMax} lines wait for the disk`)))
    else this.#waiting.push({ event, durable, resolve, reject })
    this.#work ??= this.#drain()
    return promise
  }

  /** The lines that are kept and fit, oldest first. */
  async *lines({ app, who, sinceMs }: LineFilter): AsyncIterable<Line> {
    for (const name of await filesIn(this.#directory)) {
      for await (const text of this.#textOf(name)) {
        const line = decodeLine(text)
        if (line === null || (app !== null && line.app !== app) || (who !== null && line.who !== who)) continue
        if (sinceMs === null || Date.parse(line.at) >= sinceMs) yield line
      }
    }
  }

  /** Reads all of it and says whether it hangs together. `contains`: the digest of a line noted down before. */
  async verify(contains: string | null = null): Promise<Verdict> {
    // What is being written meanwhile is no cut.
    await this.#work
    const head = await readHead(this.#directory)
    const verifier = new Verifier(contains)
    const names = await filesIn(this.#directory)
    for (const name of names) {
      let number = 0
      for await (const text of this.#textOf(name)) verifier.add(text, `line ${(number += 1)} of ${name}`)
    }
    const verdict = verifier.end(head)
    const cut = verdict.intact && (verdict.first ?? 1) > 1 && names.length < this.#limits.filesMax
    return cut ? { ...verdict, intact: false, fault: `the lines before number ${verdict.first} are missing` } : verdict
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#work
    await this.#file.close()
  }

  async #drain(): Promise<void> {
    // A turn later, so that what is asked together is forced to disk together.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0)
      try {
        const lines = await this.#write(batch)
        for (const [index, { resolve }] of batch.entries()) if (lines[index] !== undefined) resolve(lines[index])
      } catch (error) {
        for (const { reject } of batch) reject(notRecorded(error))
      }
    }
    // In the same turn as the last look, so that what comes next starts anew.
    this.#work = null
  }

  async #write(batch: readonly Waiting[]): Promise<Line[]> {
    if (this.#sizeBytes >= this.#limits.fileBytesMax) await this.#rotate()
    let head = this.#head
    const lines = batch.map(({ event }) => (head = nextLine(head, event, this.#clock.nowMs())))
    const bytes = Buffer.from(lines.map(encodeLine).join(''))
    const durable = batch.some((waiting) => waiting.durable)
    try {
      await this.#put(bytes, durable)
    } catch (error) {
      if (!['ENOSPC', 'EDQUOT'].includes(systemCodeOf(error) ?? '')) throw error
      await rm(join(this.#directory, reserveName), { force: true })
      await this.#put(bytes, durable)
    }
    this.#sizeBytes += bytes.length
    this.#head = { n: head.n, hash: head.hash }
    await writeHead(this.#directory, this.#head)
    return lines
  }

  async #put(bytes: Uint8Array, durable: boolean): Promise<void> {
    try {
      await this.#file.appendFile(bytes)
      if (durable) await this.#file.datasync()
    } catch (error) {
      // What was written of it is taken back, so that the next try begins at the end of a line.
      await this.#file.truncate(this.#sizeBytes).catch(() => {})
      throw error
    }
  }

  async #rotate(): Promise<void> {
    const name = nameOf(this.#head.n + 1)
    const fresh = await open(join(this.#directory, name), 'a', 0o600)
    await keepReserve(this.#directory)
    await this.#file.close()
    this.#file = fresh
    this.#sizeBytes = 0
    this.#names = [...this.#names, name]
    for (const old of this.#names.slice(0, -this.#limits.filesMax))
      await rm(join(this.#directory, old), { force: true })
    this.#names = this.#names.slice(-this.#limits.filesMax)
  }

  async *#textOf(name: string): AsyncIterable<string> {
    const input = createReadStream(join(this.#directory, name))
    try {
      yield* createInterface({ input })
    } finally {
      input.destroy()
    }
  }
}

function nameOf(first: number): string {
  return `audit-${String(first).padStart(12, '0')}.jsonl`
}

async function filesIn(directory: string): Promise<string[]> {
  return (await readdir(directory)).filter((name) => /^audit-\d{12}\.jsonl$/.test(name)).sort()
}

const reserveName = 'audit.reserve'

/** Takes the reserve, unless it is there or the disk has no room for it. */
async function keepReserve(directory: string): Promise<void> {
  const path = join(directory, reserveName)
  if ((await stat(path).catch(() => null))?.size === reserveBytes) return
  // Bytes that no file system makes small.
  await writeFile(path, randomBytes(reserveBytes), { mode: 0o600 }).catch(() => rm(path, { force: true }))
}

const headName = 'audit.head'

async function readHead(directory: string): Promise<Head | null> {
  const text = await readFile(join(directory, headName), 'utf8').catch(() => '')
  const [n = '', hash = ''] = text.trim().split(' ')
  return /^\d+$/.test(n) && /^[0-9a-f]{64}$/.test(hash) ? { n: Number(n), hash } : null
}

async function writeHead(directory: string, { n, hash }: Head): Promise<void> {
  const fresh = join(directory, `${headName}.new`)
  // After the lines, never before: an end that is behind them is no cut.
  await writeFile(fresh, `${n} ${hash}\n`, { mode: 0o600 }).then(
    () => rename(fresh, join(directory, headName)),
    () => {},
  )
}

function notRecorded(cause: unknown): SteadError {
  return new SteadError({
    code: 'operator.not-recorded',
    message: `the audit record cannot be written: ${messageOf(cause)}`,
    hint: 'Nothing is changed that cannot be recorded. Make room where the platform keeps its state, and try again.',
    retry: 'later',
    cause,
  })
}
