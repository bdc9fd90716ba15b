/**
 * The operations on queues as HTTP. Invariant: who only sees counts learns nothing of what messages say; who looks at messages
 * stands in the record; and what moves, keeps back or deletes them needs the right to operate and stands there, too.
 */
import { z } from 'zod'
import { badRequest } from './bad-request.ts'
import { lettersMax, type QueueName, queueShelves } from './queues.ts'
import { number, type Question, type Route, value } from './route.ts'

const shelf = z.enum(queueShelves)
const queue = z.string().min(1).max(200).nullable()
const redrive = z.object({
  queue,
  ids: z.array(z.string().max(1000)).max(lettersMax).nullable(),
  max: z.int().min(1).max(lettersMax),
})
const purge = z.object({ queue, shelf })
const pause = z.object({ queue })

function checked<T>(schema: z.ZodType<T>, found: unknown): T {
  const parsed = schema.safeParse(found)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw badRequest(`${issue?.path.join('.') ?? ''} ${issue?.message ?? 'is not what it should be'}`.trim())
}

const appOf = ({ path }: Question): string => path['app'] ?? ''

function nameOf({ path }: Question, named: string | null): QueueName {
  return { part: path['part'] ?? '', queue: named }
}

export const queueRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/apps/:app/queues',
    right: 'read',
    answer: async ({ queues }, question) => value(await queues.list(appOf(question), question.query.get('part'))),
  },
  {
    method: 'GET',
    path: '/v1/apps/:app/queues/:part/messages',
    // They may say anything of anybody: as much as who gets into the parts sees.
    right: 'exec',
    async answer({ queues }, question) {
      const { query } = question
      const max = Math.min(number(query, 'max') ?? 20, lettersMax)
      const of = nameOf(question, query.get('queue'))
      return value(await queues.peek(appOf(question), of, checked(shelf, query.get('shelf') ?? 'ready'), max))
    },
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/queues/:part/redrive',
    right: 'operate',
    async answer({ queues }, question) {
      const { queue: named, ids, max } = checked(redrive, await question.body())
      return value({ count: await queues.redrive(appOf(question), nameOf(question, named), ids, max) })
    },
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/queues/:part/purge',
    right: 'operate',
    async answer({ queues }, question) {
      const { queue: named, shelf: on } = checked(purge, await question.body())
      return value({ count: await queues.purge(appOf(question), nameOf(question, named), on) })
    },
  },
  ...[true, false].map((paused): Route => ({
    method: 'POST',
    path: `/v1/apps/:app/queues/:part/${paused ? 'pause' : 'resume'}`,
    right: 'operate',
    async answer({ queues }, question) {
      const { queue: named } = checked(pause, await question.body())
      return value({ paused: await queues.pause(appOf(question), nameOf(question, named), paused) })
    },
  })),
]
