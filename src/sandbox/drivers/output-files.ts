/**
 * Reads kept output while it is being written and rotated.
 *
 * Invariants: lines come in the order they were written, each once; a file that is rotated away under the reader is
 * read to its end first; files that were dropped before they were read are passed over.
 */
import { closeSync, fstatSync, openSync, readSync, readdirSync, rmSync, statSync } from 'node:fs'
import { sleep, systemCodeOf } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import type { OutputLine, OutputOptions } from '../driver.ts'
import { isArchive, parseOutputLine } from '../output.ts'

const lookEveryMs = 50
const chunkBytes = 64 * 1024

/** Deletes rotated files; whoever reads them passes over what is gone. Answers their bytes. */
export function dropArchives(directory: string): number {
  let freed = 0
  for (const name of listQuietly(directory).filter(isArchive)) {
    const path = `${directory}/${name}`
    freed += statSync(path, { throwIfNoEntry: false })?.size ?? 0
    rmSync(path, { force: true })
  }
  return freed
}

function listQuietly(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

/** Output kept in `directory`. `isOver` says that no more can come, which ends following. */
export async function* readOutput(
  directory: string,
  options: OutputOptions,
  clock: Clock,
  isOver: () => boolean,
): AsyncGenerator<OutputLine> {
  using reader = new OutputReader(directory)
  const { sinceMs = 0, tail, follow = false, signal } = options
  for (let first = true; ; first = false) {
    // Asked before reading, so that what came in between is not missed.
    const over = isOver()
    const lines = reader.lines().filter((line) => line.timeMs >= sinceMs)
    yield* first && tail !== undefined ? lastOf(lines, tail) : lines
    if (over || !follow) return
    await sleep(clock, lookEveryMs, signal).catch(() => undefined)
    if (signal?.aborted === true) return
  }
}

function lastOf(lines: Iterable<OutputLine>, count: number): readonly OutputLine[] {
  const last: OutputLine[] = []
  if (count <= 0) return last
  for (const line of lines) {
    // Cut in bulk: dropping the first of an array is not free.
    if (last.length >= 2 * count) last.splice(0, count)
    last.push(line)
  }
  return last.slice(-count)
}

/** Looks at the directory until two agree; then what was seen last has to do. */
const looksMax = 10

interface FoundFile {
  readonly name: string
  readonly inode: number
}

interface Opened {
  readonly descriptor: number
  readonly inode: number
}

/** Remembers how far it has read; each call of `lines` gives what has come since. */
class OutputReader implements Disposable {
  readonly #directory: string
  readonly #chunk = Buffer.alloc(chunkBytes)
  #file: Opened | null = null
  #rest: Buffer = Buffer.alloc(0)
  #empty: OutputLine | null = null

  constructor(directory: string) {
    this.#directory = directory
  }

  /**
   * What has come since, but for an empty line at the end: the launcher ends the output with one, so an empty line is
   * given only when another follows.
   */
  *lines(): Generator<OutputLine, undefined> {
    for (;;) {
      if (this.#file !== null) yield* this.#drain(this.#file.descriptor)
      const next = this.#next()
      if (next === null) return
      this[Symbol.dispose]()
      this.#rest = Buffer.alloc(0)
      this.#file = next
    }
  }

  [Symbol.dispose](): void {
    if (this.#file !== null) closeSync(this.#file.descriptor)
    this.#file = null
  }

  *#drain(descriptor: number): Generator<OutputLine> {
    for (;;) {
      const length = readSync(descriptor, this.#chunk)
      if (length === 0) return
      let bytes = Buffer.concat([this.#rest, this.#chunk.subarray(0, length)])
      for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10)) {
        const line = parseOutputLine(bytes.toString('utf8', 0, end))
        bytes = bytes.subarray(end + 1)
        if (line === null) continue
        if (this.#empty !== null) yield this.#empty
        this.#empty = line.text === '' ? line : null
        if (this.#empty === null) yield line
      }
      this.#rest = bytes
    }
  }

  /** The file after the one being read, opened; null when there is none, or not yet. */
  #next(): Opened | null {
    for (;;) {
      const files = this.#list()
      const held = files.findIndex((file) => file.inode === this.#file?.inode)
      const next = files[held + 1]
      if (next === undefined) return null
      const opened = this.#open(next.name)
      if (opened?.inode === next.inode) return opened
      // Rotated between looking and opening: look again.
      if (opened !== null) closeSync(opened.descriptor)
    }
  }

  #open(name: string): Opened | null {
    try {
      const descriptor = openSync(`${this.#directory}/${name}`, 'r')
      return { descriptor, inode: fstatSync(descriptor).ino }
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return null
      throw error
    }
  }

  /**
   * The files as they stand. Looking takes several steps and the logger renames meanwhile, so a file may be missed: two
   * looks that agree have missed nothing.
   */
  #list(): readonly FoundFile[] {
    let files = this.#look()
    for (let looks = 0; looks < looksMax; looks += 1) {
      const again = this.#look()
      if (again.map(({ inode }) => inode).join() === files.map(({ inode }) => inode).join()) break
      files = again
    }
    return files
  }

  /** Archives from the oldest on, then what is on its way to become one, then `current`. */
  #look(): readonly FoundFile[] {
    const archives = this.#names().filter(isArchive).sort()
    return [...archives, 'previous', 'current'].flatMap((name) => {
      const found = statSync(`${this.#directory}/${name}`, { throwIfNoEntry: false })
      return found === undefined ? [] : [{ name, inode: found.ino }]
    })
  }

  #names(): readonly string[] {
    try {
      return readdirSync(this.#directory)
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return []
      throw error
    }
  }
}
