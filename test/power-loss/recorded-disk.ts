/**
 * A disk that remembers every write and every flush, as a process of its own: whoever uses a disk must not be who serves it.
 * It can be put back to any moment, as a loss of power would have left it.
 *
 * What a loss of power may leave: all that was written before the last flush that was answered, and of what was written since,
 * any part, in sectors of 4 kB, in any order. Invariant: a cut never loses what a flush has promised, and may lose all else.
 *
 * Argument: the directory to mount at. Speaks with its parent over the channel that `fork` makes; see `Request`.
 */
import { seededRandom } from '../../src/base/index.ts'
import { serveFile } from './fuse.ts'

/** What the parent asks; each is answered by `Reply` with the same `id`. */
export type Request = { readonly id: number } & (
  | { readonly what: 'record' }
  /** Notes a moment of the parent's in the log: all that it knows of has been answered before. */
  | { readonly what: 'mark'; readonly text: string }
  /** Ends the recording; answers all there is to cut at. */
  | { readonly what: 'end' }
  /** Puts the disk to the moment after that entry of the log, plus part of what came before the next flush. */
  | { readonly what: 'cut'; readonly position: number; readonly torn: number | null }
)

export interface Reply {
  readonly id: number
  readonly log?: readonly LogEntry[]
}

/** An entry as the parent sees it: a write without its bytes. */
export type LogEntry =
  | { readonly kind: 'write'; readonly bytes: number }
  | { readonly kind: 'flush' }
  | { readonly kind: 'mark'; readonly text: string }

type Entry =
  | { readonly kind: 'write'; readonly offset: number; readonly data: Buffer }
  | { readonly kind: 'flush' }
  | { readonly kind: 'mark'; readonly text: string }

const sector = 4096
const zeroes = Buffer.alloc(sector)

class RecordedDisk {
  readonly name = 'disk'
  readonly bytes = 2 * 2 ** 30
  readonly #log: Entry[] = []
  /** What is durable at `#position` of the log, and what has been written over it since. */
  readonly #base = new Map<number, Buffer>()
  #top = new Map<number, Buffer>()
  #position = 0
  #phase: 'setup' | 'recording' | 'replay' = 'setup'

  read(offset: number, length: number): Buffer {
    const first = Math.floor(offset / sector)
    const last = Math.ceil((offset + length) / sector)
    const sectors = Array.from({ length: last - first }, (_, index) => this.#sectorAt(first + index))
    return Buffer.concat(sectors).subarray(offset - first * sector, offset - first * sector + length)
  }

  write(offset: number, data: Buffer): void {
    if (this.#phase === 'recording') this.#log.push({ kind: 'write', offset, data })
    this.#put(this.#phase === 'setup' ? this.#base : this.#top, offset, data)
  }

  clear(offset: number, length: number): void {
    for (let at = offset; at < offset + length; at += 2 ** 20)
      this.write(at, Buffer.alloc(Math.min(2 ** 20, offset + length - at)))
  }

  flush(): void {
    if (this.#phase === 'recording') this.#log.push({ kind: 'flush' })
  }

  record(): void {
    this.#phase = 'recording'
  }

  mark(text: string): void {
    this.#log.push({ kind: 'mark', text })
  }

  end(): readonly LogEntry[] {
    this.#phase = 'replay'
    return this.#log.map((entry) => (entry.kind === 'write' ? { kind: 'write', bytes: entry.data.length } : entry))
  }

  /** Cuts must come in the order of the log. */
  cut(position: number, torn: number | null): void {
    if (position < this.#position)
      throw new Error(`the disk is at ${this.#position}, and cannot go back to ${position}`)
    for (; this.#position < position; this.#position += 1) {
      const entry = this.#log[this.#position]
      if (entry?.kind === 'write') this.#put(this.#base, entry.offset, entry.data)
    }
    this.#top = new Map()
    if (torn === null) return
    const random = seededRandom(torn)
    const next = this.#log.findIndex((entry, index) => index >= position && entry.kind === 'flush')
    for (const entry of this.#log.slice(position, next < 0 ? undefined : next)) {
      if (entry.kind !== 'write') continue
      for (let at = 0; at < entry.data.length; at += sector)
        if ((random.bytes(1)[0] ?? 0) >= 128)
          this.#put(this.#top, entry.offset + at, entry.data.subarray(at, at + sector))
    }
  }

  #sectorAt(number: number): Buffer {
    return this.#top.get(number) ?? this.#base.get(number) ?? zeroes
  }

  #put(map: Map<number, Buffer>, offset: number, data: Buffer): void {
    for (let done = 0; done < data.length;) {
      const number = Math.floor((offset + done) / sector)
      const within = (offset + done) % sector
      const part = data.subarray(done, done + sector - within)
      const whole = part.length === sector ? part : Buffer.from(this.#sectorAt(number))
      if (whole !== part) part.copy(whole, within)
      map.set(number, whole)
      done += part.length
    }
  }
}

const disk = new RecordedDisk()
process.on('message', (request: Request) => {
  const reply = (more: Partial<Reply> = {}): void => void process.send?.({ id: request.id, ...more })
  if (request.what === 'record') disk.record()
  else if (request.what === 'mark') disk.mark(request.text)
  else if (request.what === 'end') return reply({ log: disk.end() })
  else disk.cut(request.position, request.torn)
  reply()
})
// The parent is dead, and with it and this process the mount namespace that all of it is in.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))
await serveFile(process.argv[2] ?? '', disk)
process.send?.({ id: 0 } satisfies Reply)
