/**
 * What SQS takes in batches of ten: many entries become few requests, side by side, and each entry gets its own answer. Messages of one
 * key leave one request after another, in their order; when one of them fails, those behind it are not sent.
 */
import { createHash } from 'node:crypto'
import { isSteadError } from '../../../base/index.ts'
import type { SteadError } from '../../../base/index.ts'
import type { SqsClient, SqsRefusal } from './client.ts'

const entriesMax = 10
/** Requests with keys that are under way at once, for one queue. */
const lanesMax = 8

/** What became of one entry. `refusal` is what the server said, where it did. */
export type EntryResult = 'done' | { readonly error: SteadError; readonly refusal: SqsRefusal }

interface Entry {
  readonly index: number
  readonly bytes: number
  readonly key: string | null
  readonly entry: object
}

interface BatchAnswer {
  readonly Failed?: readonly { readonly Id: string; readonly Code?: string; readonly Message?: string }[]
}

export class SqsBatches {
  readonly #client: SqsClient
  readonly #bytesMax: number
  /** By queue and lane: one request begins when the one before it has ended. */
  readonly #lanes = new Map<string, Promise<unknown>>()

  /** `bytesMax`: of all messages of one request together. */
  constructor(client: SqsClient, bytesMax: number) {
    this.#client = client
    this.#bytesMax = bytesMax
  }

  /** Sends; answers by `index`. */
  async send(url: string, entries: readonly Entry[]): Promise<ReadonlyMap<number, EntryResult>> {
    const results = new Map<number, EntryResult>()
    const free = chunks(
      entries.filter(({ key }) => key === null),
      this.#bytesMax,
    ).map((chunk) => this.#sendChunk(url, chunk, results))
    const lanes = Map.groupBy(
      entries.filter(({ key }) => key !== null),
      ({ key }) => laneOf(key ?? ''),
    )
    const kept = [...lanes].map(([lane, members]) =>
      this.#inLane(`${url} ${lane}`, () => this.#sendInOrder(url, members, results)),
    )
    await Promise.all([...free, ...kept])
    return results
  }

  #inLane(lane: string, work: () => Promise<void>): Promise<void> {
    const done = (this.#lanes.get(lane) ?? Promise.resolve()).then(work)
    const settled = done.catch(() => {})
    this.#lanes.set(lane, settled)
    void settled.then(() => this.#lanes.get(lane) === settled && this.#lanes.delete(lane))
    return done
  }

  async #sendInOrder(url: string, entries: readonly Entry[], results: Map<number, EntryResult>): Promise<void> {
    let failed: EntryResult = 'done'
    for (const chunk of chunks(entries, this.#bytesMax)) {
      if (failed === 'done') await this.#sendChunk(url, chunk, results)
      else for (const { index } of chunk) results.set(index, failed)
      failed = chunk.map(({ index }) => results.get(index) ?? 'done').find((result) => result !== 'done') ?? 'done'
    }
  }

  async #sendChunk(url: string, chunk: readonly Entry[], results: Map<number, EntryResult>): Promise<void> {
    const answers = await this.#ask(
      'SendMessageBatch',
      url,
      chunk.map(({ entry }) => entry),
    )
    for (const [at, { index }] of chunk.entries()) results.set(index, answers[at] ?? 'done')
  }

  /** Carries out an action for each entry; one answer for each, in their order. */
  async each(
    action: string,
    entries: readonly { readonly url: string; readonly entry: object }[],
  ): Promise<readonly EntryResult[]> {
    const results: EntryResult[] = entries.map(() => 'done')
    const numbered = entries.map(({ url, entry }, index) => ({ index, url, entry, bytes: 0, key: null }))
    const calls = [...Map.groupBy(numbered, ({ url }) => url)].flatMap(([url, members]) =>
      chunks(members, this.#bytesMax).map(async (chunk) => {
        const answers = await this.#ask(
          action,
          url,
          chunk.map(({ entry }) => entry),
        )
        for (const [at, { index }] of chunk.entries()) results[index] = answers[at] ?? 'done'
      }),
    )
    await Promise.all(calls)
    return results
  }

  /** One request. When it fails as a whole, all of its entries have failed. */
  async #ask(action: string, url: string, entries: readonly object[]): Promise<readonly EntryResult[]> {
    try {
      const input = { QueueUrl: url, Entries: entries.map((entry, at) => ({ Id: String(at), ...entry })) }
      const { Failed: failed = [] } = await this.#client.call<BatchAnswer>(action, input)
      return entries.map((_, at) => {
        const found = failed.find(({ Id }) => Id === String(at))
        if (found === undefined) return 'done'
        const refusal = { code: found.Code ?? '', message: found.Message ?? '' }
        return { refusal, error: this.#client.refused(refusal, action) }
      })
    } catch (error) {
      if (!isSteadError(error)) throw error
      return entries.map(() => ({ error, refusal: { code: '', message: '' } }))
    }
  }
}

/** Whether the server means that the receipt is void: the lease was over. */
export function stale({ code, message }: SqsRefusal): boolean {
  if (/ReceiptHandleIsInvalid|MessageNotInflight/.test(code)) return true
  return code.includes('InvalidParameterValue') && /receipt|expired/i.test(message)
}

/** Groups of entries that fit into a request each, in their order. */
function chunks<Item extends { readonly bytes: number }>(
  items: readonly Item[],
  bytesMax: number,
): readonly (readonly Item[])[] {
  const all: Item[][] = []
  let bytes = 0
  for (const item of items) {
    const last = all.at(-1)
    if (last === undefined || last.length === entriesMax || bytes + item.bytes > bytesMax) {
      all.push([item])
      bytes = item.bytes
    } else {
      last.push(item)
      bytes += item.bytes
    }
  }
  return all
}

function laneOf(key: string): number {
  return (createHash('sha256').update(key).digest()[0] ?? 0) % lanesMax
}
