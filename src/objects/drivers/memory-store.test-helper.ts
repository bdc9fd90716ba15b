/**
 * An object store in memory for tests of what is built on stores: it can fail before or after it has done something, and takes
 * its time, both by seeded chance. It has no conditions and no signed URLs, like the least of real ones.
 */
import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import type { Random } from '../../base/index.ts'
import { failure } from '../errors.ts'
import { piecesOf } from '../input.ts'
import type { Content, GetOptions, ObjectPage, ObjectRead, ObjectStat, ObjectStore } from '../store.ts'

/** An object. */
export interface Held {
  readonly content: Buffer
  readonly stat: ObjectStat
}

export class MemoryStore implements ObjectStore {
  readonly name: string = 'memory'
  readonly capabilities: ObjectStore['capabilities'] = {
    putIfAbsent: false,
    putIfMatch: false,
    checksums: false,
    presign: false,
    paging: true,
    versions: false,
    durability: 'fsync',
  }
  /** What lies in it, by key. */
  readonly held: Map<string, Held> = new Map<string, Held>()
  /** Out of 256 calls so many fail, half of them after they have done what they were asked. */
  failing: number = 0
  readonly #random: Random

  constructor(random: Random) {
    this.#random = random
  }

  async put(key: string, content: Content): Promise<ObjectStat> {
    const pieces: Uint8Array[] = []
    for await (const piece of piecesOf(content)) pieces.push(piece)
    const bytes = Buffer.concat(pieces)
    const etag = createHash('md5').update(bytes).digest('hex')
    const described = { contentType: 'application/octet-stream', metadata: {}, version: undefined, modifiedMs: 0 }
    const stat = { key, bytes: bytes.length, etag, ...described }
    await this.#perhaps(() => this.held.set(key, { content: bytes, stat }))
    return stat
  }

  async get(key: string, { start = 0, end }: GetOptions = {}): Promise<ObjectRead | null> {
    await this.#perhaps(() => {})
    const found = this.held.get(key)
    if (found === undefined) return null
    return { ...found.stat, body: ReadableStream.from<Uint8Array>([found.content.subarray(start, end)]) }
  }

  async stat(key: string): Promise<ObjectStat | null> {
    await this.#perhaps(() => {})
    return this.held.get(key)?.stat ?? null
  }

  async list({ prefix = '', after = '' }: { prefix?: string; after?: string } = {}): Promise<ObjectPage> {
    await this.#perhaps(() => {})
    const keys = [...this.held.keys()].filter((key) => key.startsWith(prefix) && key > after).toSorted()
    const objects = keys.slice(0, 7).flatMap((key) => this.held.get(key)?.stat ?? [])
    return { objects, prefixes: [], next: keys.length > 7 ? keys[6] : undefined }
  }

  async delete(key: string): Promise<void> {
    await this.#perhaps(() => this.held.delete(key))
  }

  putIfAbsent(): Promise<ObjectStat | null> {
    return Promise.reject(failure('unsupported', 'memory has no conditions', 'Do without.'))
  }

  putIfMatch(): Promise<ObjectStat | null> {
    return Promise.reject(failure('unsupported', 'memory has no conditions', 'Do without.'))
  }

  presign(): Promise<string> {
    return Promise.reject(failure('unsupported', 'memory signs no URLs', 'Do without.'))
  }

  async #perhaps(work: () => unknown): Promise<void> {
    const [turns = 0, chance = 0, side = 0] = this.#random.bytes(3)
    for (let turn = 0; turn < turns % 4; turn += 1) await setImmediate()
    const fails = chance < this.failing
    if (!fails || side % 2 === 0) work()
    if (fails) throw failure('unavailable', 'the store fails here', 'Try again.')
  }

  async close(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}
}
