/**
 * A program of its own: keeps standard input as timed, rotated output, in the format of s6-log, where that is not
 * installed. Arguments: directory, bytes of a file, number of archives.
 *
 * Invariants: a line carries the time at which it was read; the files stay within their sizes; it ends only when its
 * input does, whatever signal a group gets.
 */
import {
  closeSync,
  existsSync,
  openSync,
  readSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { systemClock, systemCodeOf } from '../../base/index.ts'
import { archiveName, isArchive, lineBytesMax, stampOf } from '../output.ts'

const [directory = '', fileBytesText = '', archivesText = ''] = process.argv.slice(2)
const fileBytes = Number(fileBytesText)
const archives = Number(archivesText)
const current = `${directory}/current`

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined)

class Files {
  #descriptor: number = openSync(current, 'a', 0o644)
  #bytes: number = existsSync(current) ? statSync(current).size : 0

  write(line: Buffer): void {
    writeSync(this.#descriptor, line)
    this.#bytes += line.length
    if (this.#bytes >= fileBytes) this.#rotate()
  }

  #rotate(): void {
    closeSync(this.#descriptor)
    renameSync(current, this.#freeName())
    const kept = readdirSync(directory).filter(isArchive).sort()
    for (const name of kept.slice(0, Math.max(0, kept.length - archives))) rmSync(`${directory}/${name}`)
    this.#descriptor = openSync(current, 'a', 0o644)
    this.#bytes = 0
  }

  /** Two files may fill up within one millisecond. */
  #freeName(): string {
    let timeMs = systemClock.nowMs()
    while (existsSync(`${directory}/${archiveName(timeMs)}`)) timeMs += 1
    return `${directory}/${archiveName(timeMs)}`
  }
}

/** Blocks until there is input; 0 at its end. */
function readInput(into: Buffer): number {
  for (;;) {
    try {
      return readSync(0, into)
    } catch (error) {
      if (systemCodeOf(error) === 'EOF') return 0
      if (systemCodeOf(error) !== 'EAGAIN') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
    }
  }
}

function run(): void {
  const files = new Files()
  const keep = (text: Buffer): void =>
    files.write(Buffer.concat([Buffer.from(stampOf(systemClock.nowMs())), text, Buffer.from('\n')]))
  const chunk = Buffer.alloc(lineBytesMax)
  let rest: Buffer = Buffer.alloc(0)
  for (let length = readInput(chunk); length > 0; length = readInput(chunk)) {
    rest = Buffer.concat([rest, chunk.subarray(0, length)])
    for (let end = rest.indexOf(10); end >= 0 || rest.length >= lineBytesMax; end = rest.indexOf(10)) {
      const cut = end >= 0 && end <= lineBytesMax ? end : lineBytesMax
      keep(rest.subarray(0, cut))
      rest = rest.subarray(cut === end ? cut + 1 : cut)
    }
  }
  if (rest.length > 0) keep(rest)
}

run()
