/**
 * The operations on submitted jobs as HTTP. Invariant: a job that sees or changes files of a node, or runs there without a
 * sandbox, is submitted only by who may do everything; a job without is somebody's program in a sandbox, like `exec`.
 */
import { z } from 'zod'
import { type Submission, submissionSchema } from '../batch/index.ts'
import { SteadError } from '../base/index.ts'
import { badRequest } from './bad-request.ts'
import { jobsShownMax, tasksShownMax } from './batch.ts'
import type { Caller } from './caller.ts'
import { number, type Question, type Route, value } from './route.ts'

const cancel = z.object({ task: z.int().min(0).nullable() })
const queue = z.object({
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/),
  priority: z.int().min(-100).max(100),
  preempts: z.boolean(),
  timeLimitMs: z.int().min(1000).nullable(),
})

const most = (max: number): z.ZodType<number | null> => z.number().min(0).max(max).nullable()
const account = z.object({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._@:+-]{0,99}$/),
  weight: z.number().min(0.001).max(1000),
  cpu: most(1e6),
  memoryBytes: z
    .int()
    .min(0)
    .max(2 ** 52)
    .nullable(),
  gpus: z.int().min(0).max(1e6).nullable(),
  tasks: z.int().min(0).max(1e9).nullable(),
})
const moment = z.int().min(0).max(8.64e15)
const reservation = z
  .object({
    name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._@:+-]{0,99}$/),
    nodes: z.array(z.string().min(1).max(253)).max(1000),
    fromMs: moment,
    untilMs: moment,
  })
  .refine(({ fromMs, untilMs }) => fromMs < untilMs, 'ends before it begins')
const node = z.object({ state: z.enum(['open', 'cordoned', 'drained']) })

function checked<T>(schema: z.ZodType<T>, found: unknown): T {
  const parsed = schema.safeParse(found)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw badRequest(`${issue?.path.join('.') ?? ''} ${issue?.message ?? 'is not what it should be'}`.trim())
}

function jobOf({ path }: Question): number {
  const id = Number(path['job'])
  if (Number.isInteger(id) && id > 0) return id
  throw badRequest(`${path['job']} is no number of a job`)
}

const taskOf = ({ query }: Question): number | null => number(query, 'task')

/** Throws `operator.forbidden`. */
function refuseBeyond(caller: Caller, { reads, writes, isolation, egress = [], app }: Submission): void {
  const refuse = (what: string, right: string): never => {
    throw new SteadError({
      code: 'operator.forbidden',
      message: `${caller.name} may not submit ${what}: that needs the right ${right}`,
      hint: 'Ask an administrator of the platform; `stead access` gives rights.',
    })
  }
  const paths = [...reads, ...writes]
  if (isolation === 'none' && !caller.may('admin', null)) refuse('a job that runs without a sandbox', 'admin')
  if (paths.length > 0 && !caller.may('admin', null)) refuse(`a job that sees ${paths[0]} of the node`, 'admin')
  if (egress.length > 0 && !caller.may('admin', null)) refuse(`a job that dials ${egress[0]}`, 'admin')
  if (app !== null && !caller.may('exec', app)) refuse(`a job for ${app}`, `exec on ${app}`)
}

const base = '/v1/batch/jobs'

export const batchRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: base,
    right: 'exec',
    async answer({ batch }, { body, caller }) {
      const submission = checked(submissionSchema, await body())
      refuseBeyond(caller, submission)
      return value({ job: await batch.submit(submission, caller.name) })
    },
  },
  {
    method: 'GET',
    path: base,
    right: 'read',
    async answer({ batch }, { query }) {
      const max = Math.min(number(query, 'max') ?? 100, jobsShownMax)
      return value(await batch.list({ ended: query.get('ended') === 'true', max }))
    },
  },
  {
    method: 'GET',
    path: `${base}/:job`,
    right: 'read',
    answer: async ({ batch }, question) => value(await batch.job(jobOf(question))),
  },
  {
    method: 'GET',
    path: `${base}/:job/tasks`,
    right: 'read',
    async answer({ batch }, question) {
      const max = Math.min(number(question.query, 'max') ?? 100, tasksShownMax)
      return value(await batch.tasks(jobOf(question), number(question.query, 'from') ?? 0, max))
    },
  },
  {
    method: 'GET',
    path: `${base}/:job/why`,
    right: 'read',
    answer: async ({ batch }, question) => value(await batch.why(jobOf(question), taskOf(question))),
  },
  {
    method: 'GET',
    path: `${base}/:job/watch`,
    right: 'read',
    async answer({ batch }, question) {
      // Who asks for a job that is not there is told so at once.
      await batch.job(jobOf(question))
      return { kind: 'lines', lines: batch.watch(jobOf(question), question.signal) }
    },
  },
  {
    method: 'GET',
    path: `${base}/:job/logs`,
    right: 'logs',
    answer({ batch }, question) {
      const { query, signal } = question
      const options = { tail: number(query, 'tail'), follow: query.get('follow') === 'true', signal }
      return { kind: 'lines', lines: batch.logs(jobOf(question), taskOf(question), options) }
    },
  },
  {
    method: 'POST',
    path: `${base}/:job/cancel`,
    right: 'operate',
    async answer({ batch }, question) {
      const { task } = checked(cancel, await question.body())
      await batch.cancel(jobOf(question), task, question.caller.name)
      return value({ cancelled: true })
    },
  },
  {
    method: 'GET',
    path: '/v1/batch/queues',
    right: 'read',
    answer: async ({ batch }) => value(await batch.queues()),
  },
  {
    method: 'PUT',
    path: '/v1/batch/queues/:queue',
    right: 'admin',
    async answer({ batch }, { path, body }) {
      const wanted = checked(queue, await body())
      if (wanted.name !== path['queue']) throw badRequest('the name of the queue is not that of the path')
      await batch.setQueue(wanted)
      return value({ set: true })
    },
  },
  {
    method: 'GET',
    path: '/v1/batch/accounts',
    right: 'read',
    answer: async ({ batch }) => value(await batch.accounts()),
  },
  {
    method: 'PUT',
    path: '/v1/batch/accounts/:account',
    right: 'admin',
    async answer({ batch }, { path, body }) {
      const wanted = checked(account, await body())
      if (wanted.name !== path['account']) throw badRequest('the name of the account is not that of the path')
      await batch.setAccount(wanted)
      return value({ set: true })
    },
  },
  {
    method: 'GET',
    path: '/v1/batch/reservations',
    right: 'read',
    answer: async ({ batch }) => value(await batch.reservations()),
  },
  {
    method: 'PUT',
    path: '/v1/batch/reservations/:reservation',
    right: 'admin',
    async answer({ batch }, { path, body, caller }) {
      const wanted = checked(reservation, await body())
      if (wanted.name !== path['reservation']) throw badRequest('the name of the reservation is not that of the path')
      await batch.reserve({ ...wanted, by: caller.name })
      return value({ set: true })
    },
  },
  {
    method: 'DELETE',
    path: '/v1/batch/reservations/:reservation',
    right: 'admin',
    async answer({ batch }, { path }) {
      await batch.release(path['reservation'] ?? '')
      return value({ released: true })
    },
  },
  {
    method: 'PUT',
    path: '/v1/batch/nodes/:node',
    right: 'admin',
    async answer({ batch }, { path, body, caller }) {
      const { state } = checked(node, await body())
      await batch.setNode(path['node'] ?? '', state, caller.name)
      return value({ set: true })
    },
  },
  {
    method: 'GET',
    path: '/v1/batch/usage',
    right: 'read',
    answer: async ({ batch }) => value(await batch.usage()),
  },
  {
    method: 'GET',
    path: '/v1/batch/nodes',
    right: 'read',
    answer: async ({ batch }) => value(await batch.nodes()),
  },
]
