/** The operations on releases as HTTP. Invariant: whoever may not deploy changes neither code nor data. */
import { z } from 'zod'
import { badRequest } from './bad-request.ts'
import { deploymentOf } from './deployment-body.ts'
import type { Operations } from './operations.ts'
import type { ReleasesStatus, ReleaseStatus } from './releases.ts'
import { type Question, type Route, value } from './route.ts'

const name = z.string().min(1).max(100)
const back = z.object({
  target: z.int().positive().nullable(),
  withData: z.boolean().nullable(),
  checkpoint: name.nullable(),
})
const branch = z.object({ name, from: name.nullable(), purpose: z.enum(['branch', 'look']) })
const replay = z.object({ from: name, part: name, table: name, where: z.string().max(2000).nullable() })
const adoption = z.object({
  name,
  release: z.int().positive(),
  generation: z.int().positive(),
  createdAtMs: z.number(),
  schema: z.object({
    bundles: z.record(z.string(), z.string()),
    phase: z.enum(['expand', 'all']),
    parts: z.array(z.string()).max(1000),
  }),
})
const probes = z.object({ probes: z.record(name, z.string().max(10_000)) })
const restore = z.object({
  copy: name,
  confirmed: z.boolean(),
  log: name.exactOptional(),
  from: name.exactOptional(),
  target: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('name'), name }),
    z.object({ kind: z.literal('position'), position: name }),
    z.object({ kind: z.literal('time'), timeMs: z.number() }),
    z.object({ kind: z.literal('end') }),
  ]),
})
const copies = z.object({ names: z.array(name).max(1000) })

async function bodyOf<T>({ body }: Question, schema: z.ZodType<T>): Promise<T> {
  const parsed = schema.safeParse(await body())
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw badRequest(`${issue?.path.join('.') ?? ''} ${issue?.message ?? 'is not what it should be'}`.trim())
}

const appOf = ({ path }: Question): string => path['app'] ?? ''

export const releaseRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/apps/:app/plan',
    right: 'deploy',
    recorded: 'none',
    answer: async (operations, question) =>
      value(await operations.releases.plan(await deploymentOf(operations, question))),
  },
  {
    method: 'GET',
    path: '/v1/apps/:app/releases',
    right: 'read',
    answer: ({ releases }, question) => value(releases.list(appOf(question))),
  },
  {
    method: 'GET',
    path: '/v1/apps/:app/releases/:number/watch',
    right: 'read',
    answer: (operations, question) => ({
      kind: 'lines',
      lines: watched(operations, appOf(question), Number(question.path['number']), question.signal),
    }),
  },
  {
    method: 'GET',
    path: '/v1/apps/:app/data',
    right: 'read',
    answer: async ({ releases }, question) =>
      value(await releases.data(appOf(question), question.query.get('sizes') === 'true')),
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/rollback/preview',
    right: 'read',
    recorded: 'none',
    answer: async ({ releases }, question) =>
      value(await releases.preview(appOf(question), await bodyOf(question, back))),
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/rollback',
    right: 'deploy',
    async answer({ releases }, question) {
      const wish = await bodyOf(question, back)
      return value({ release: await releases.back(appOf(question), wish, question.caller.name) })
    },
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/rollout/cancel',
    right: 'deploy',
    async answer({ releases }, question) {
      await releases.cancel(appOf(question), question.caller.name)
      return value({ cancelled: true })
    },
  },
  {
    method: 'PUT',
    path: '/v1/apps/:app/checkpoints/:name',
    right: 'deploy',
    answer: async ({ releases }, question) =>
      value(await releases.checkpoint(appOf(question), question.path['name'] ?? '', question.caller.name)),
  },
  {
    method: 'PUT',
    path: '/v1/apps/:app/copies/:name',
    right: 'deploy',
    answer: async ({ releases }, question) =>
      value(await releases.spareCopy(appOf(question), question.path['name'] ?? '')),
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/copies/adopt',
    right: 'deploy',
    async answer({ releases }, question) {
      await releases.adopt(appOf(question), await bodyOf(question, adoption), question.caller.name)
      return value({ adopted: true })
    },
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/copies/:name/verify',
    right: 'deploy',
    async answer({ releases }, question) {
      const { probes: own } = await bodyOf(question, probes)
      return value(await releases.verify(appOf(question), question.path['name'] ?? '', own))
    },
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/logs/lay-out',
    right: 'deploy',
    recorded: 'none',
    answer: async ({ releases }, question) => value(await releases.layOutLogs(appOf(question))),
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/restore',
    right: 'deploy',
    async answer({ releases }, question) {
      const wish = await bodyOf(question, restore)
      return value(await releases.restoreAt(appOf(question), wish, question.caller.name))
    },
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/copies/delete',
    right: 'deploy',
    async answer({ releases }, question) {
      const { names } = await bodyOf(question, copies)
      return value({ deleted: await releases.deleteCopies(appOf(question), names) })
    },
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/branches',
    right: 'deploy',
    async answer({ releases }, question) {
      const { name: of, from, purpose } = await bodyOf(question, branch)
      return value({ app: await releases.branch(appOf(question), of, from, purpose, question.caller.name) })
    },
  },
  {
    method: 'DELETE',
    path: '/v1/apps/:app/branches/:name',
    right: 'deploy',
    async answer({ releases }, question) {
      await releases.removeBranch(appOf(question), question.path['name'] ?? '')
      return value({ removed: true })
    },
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/replay',
    right: 'deploy',
    answer: async ({ releases }, question) =>
      value({ rows: await releases.replay(appOf(question), await bodyOf(question, replay)) }),
  },
]

const intervalMs = 200

/** A release now and whenever it has changed, until its rollout has ended; with the one that takes over from it, if one does. */
async function* watched(
  operations: Operations,
  app: string,
  release: number,
  signal: AbortSignal,
): AsyncIterable<ReleaseStatus> {
  const look = (): ReleaseStatus | undefined => find(operations.releases.list(app), release)
  const first = look()
  if (first === undefined) throw badRequest(`${app} has no release ${release}`)
  yield first
  if (first.state !== 'rolling-out') return
  let told = JSON.stringify(first)
  for await (const _ of operations.changes(intervalMs, signal)) {
    const now = look()
    if (now === undefined) return
    const text = JSON.stringify(now)
    if (text !== told) yield now
    told = text
    if (now.state !== 'rolling-out') return
  }
}

function find({ releases }: ReleasesStatus, release: number): ReleaseStatus | undefined {
  return releases.find((one) => one.number === release)
}
