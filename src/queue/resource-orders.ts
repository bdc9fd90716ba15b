/**
 * What an operator can ask of a queue that serves, as data: orders and their answers, for both who asks and the provider that
 * carries them out. Invariant: what is looked at is short, however large the messages are.
 */
import { assert } from '../base/index.ts'
import type { Json } from '../base/index.ts'
import type { HttpClient } from './drivers/http/client.ts'
import { pathOf } from './drivers/http/driver.ts'
import { isRecord, listIn, seenOf, wordIn } from './drivers/http/wire.ts'
import type { Shelf } from './driver.ts'
import { failure } from './errors.ts'

export type QueueOrder =
  | { readonly do: 'list' }
  | { readonly do: 'peek'; readonly queue: string; readonly shelf: Shelf; readonly max: number }
  | {
      readonly do: 'redrive'
      readonly queue: string
      readonly ids: readonly string[] | null
      readonly max: number
    }
  | { readonly do: 'purge'; readonly queue: string; readonly shelf: Shelf }
  | { readonly do: 'pause' | 'resume'; readonly queue: string }

/** What is in a queue. `oldestAgeMs`: of the oldest message that is ready; null when none is. */
export interface Standing {
  readonly name: string
  readonly ready: number
  readonly delayed: number
  readonly held: number
  readonly dead: number
  readonly oldestAgeMs: number | null
  /** Nothing of it is handed out. */
  readonly paused: boolean
}

/** A message that is looked at. `text`: the beginning of its body, null where that is no text. */
export interface Letter {
  readonly id: string
  readonly key: string | null
  readonly priority: number
  readonly attempt: number
  readonly sentAtMs: number
  readonly headers: Readonly<Record<string, string>>
  readonly cause: string | null
  readonly text: string | null
  readonly bodyBytes: number
}

/** Characters of a body that are shown. */
const textMax = 2000

/** Carries out an order. Throws `queue.bad-input` for what is none, and what the server tells. */
export async function carryOutOrder(client: HttpClient, order: Json): Promise<Json> {
  const asked = orderOf(order)
  switch (asked.do) {
    case 'list':
      return plain(listIn(await client.call('GET', '/v1/queues'), 'queues'))
    case 'peek': {
      const path = `${pathOf(asked.queue, 'messages')}?shelf=${asked.shelf}&max=${asked.max}`
      return plain(listIn(await client.call('GET', path), 'messages').map(letterOf))
    }
    case 'redrive':
      return plain(
        (await client.call('POST', pathOf(asked.queue, 'redrive'), { ids: asked.ids, max: asked.max }))['count'],
      )
    case 'purge':
      return plain((await client.call('POST', pathOf(asked.queue, 'purge'), { shelf: asked.shelf }))['count'])
    case 'pause':
    case 'resume':
      return plain((await client.call('POST', pathOf(asked.queue, asked.do)))['paused'])
  }
}

/** An order as it arrives. What its numbers may be, the server checks. */
function orderOf(order: Json): QueueOrder {
  const asked = isRecord(order) ? order : {}
  const action = wordIn(asked, 'do', ['none', 'list', 'peek', 'redrive', 'purge', 'pause', 'resume'])
  if (action === 'none') throw failure('bad-input', 'this cannot be asked of a queue', 'Upgrade the node, or who asks.')
  if (action === 'list') return { do: action }
  const { queue, max, ids = null } = asked
  if (action === 'purge' && asked['shelf'] === undefined)
    throw failure('bad-input', 'a purge says of which shelf', 'It is ready, or dead.')
  const ofQueue = typeof queue === 'string' ? queue : ''
  if (action === 'pause' || action === 'resume') return { do: action, queue: ofQueue }
  const shelf = wordIn(asked, 'shelf', ['ready', 'dead'])
  if (action === 'purge') return { do: action, queue: ofQueue, shelf }
  if (action === 'peek') return { do: action, queue: ofQueue, shelf, max: Number(max) }
  return { do: action, queue: ofQueue, ids: ids === null ? null : listIn({ ids }, 'ids').map(String), max: Number(max) }
}

function letterOf(item: unknown): Letter {
  const { body, ...seen } = seenOf(item)
  const isText = typeof body === 'string'
  const text = isText ? body.slice(0, textMax).toWellFormed() : null
  return { ...seen, text, bodyBytes: isText ? Buffer.byteLength(body) : body.byteLength }
}

/** What came out of JSON, or has nothing in it that JSON has not. */
function plain(value: unknown): Json {
  return JSON.parse(JSON.stringify(value)) as Json
}

/** The answers, read where they arrive. */
export const queueAnswers = {
  list(answer: Json): readonly Standing[] {
    assert(Array.isArray(answer), 'the queues are no list')
    return answer.map((item) => {
      assert(isRecord(item), 'a queue that is no object')
      const { name, ready, delayed, held, dead, oldestAgeMs, paused = false } = item
      const [r, d, h, x] = [ready, delayed, held, dead].map(Number)
      const age = typeof oldestAgeMs === 'number' ? oldestAgeMs : null
      return {
        name: String(name),
        ready: r ?? 0,
        delayed: d ?? 0,
        held: h ?? 0,
        dead: x ?? 0,
        oldestAgeMs: age,
        paused: paused === true,
      }
    })
  },
  peek(answer: Json): readonly Letter[] {
    assert(Array.isArray(answer), 'the messages are no list')
    // Both ends are of this code, within a version of the protocol.
    return answer as readonly Letter[]
  },
  paused(answer: Json): boolean {
    assert(typeof answer === 'boolean', 'a pause that is neither on nor off')
    return answer
  },
  count(answer: Json): number {
    assert(typeof answer === 'number', 'a count that is no number')
    return answer
  },
} as const
