/** How bundles are brought to a platform, as HTTP: what is missing is asked first, and only that is sent. */
import { z } from 'zod'
import { SteadError } from '../base/index.ts'
import { badRequest } from './bad-request.ts'
import type { Intake, Operations } from './operations.ts'
import { type Route, value } from './route.ts'

/** Contents that are asked about at once. */
export const contentsMax: number = 20_000

const asked = z.strictObject({ contents: z.array(z.string().max(80)).max(contentsMax) })
const askedBundles = z.strictObject({ bundles: z.array(z.string().max(80)).max(1000) })
const runtime = z.strictObject({
  name: z.string().max(40),
  version: z.string().max(40),
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  sizeBytes: z.int().positive(),
})

export const intakeRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/apps/:app/runtimes',
    right: 'deploy',
    recorded: 'none',
    answer: async (operations) => value(await intakeOf(operations).runtimes()),
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/runtimes',
    right: 'deploy',
    recorded: 'none',
    async answer(operations, { body }) {
      const parsed = runtime.safeParse(await body())
      if (!parsed.success) throw badRequest('it names no runtime')
      const { sizeBytes, ...name } = parsed.data
      await intakeOf(operations).assembleRuntime(name, sizeBytes)
      return value({ taken: true })
    },
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/contents/missing',
    right: 'deploy',
    recorded: 'none',
    async answer(operations, { body }) {
      const parsed = asked.safeParse(await body())
      if (!parsed.success) throw badRequest('it names no contents')
      return value({ missing: await intakeOf(operations).missing(parsed.data.contents) })
    },
  },
  {
    method: 'PUT',
    path: '/v1/apps/:app/contents',
    right: 'deploy',
    recorded: 'none',
    answer: async (operations, { stream }) => value({ taken: await intakeOf(operations).receive(stream) }),
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/bundles/missing',
    right: 'deploy',
    recorded: 'none',
    async answer(operations, { body }) {
      const parsed = askedBundles.safeParse(await body())
      if (!parsed.success) throw badRequest('it names no bundles')
      return value({ missing: await intakeOf(operations).missingBundles(parsed.data.bundles) })
    },
  },
  {
    method: 'PUT',
    path: '/v1/apps/:app/bundles/:digest',
    right: 'deploy',
    recorded: 'none',
    async answer(operations, { path, stream }) {
      await intakeOf(operations).assemble(path['digest'] ?? '', stream)
      return value({ taken: true })
    },
  },
]

/** Refuses a deployment of bundles that are not here, before anything is done with it. */
export async function needBundles({ intake }: Operations, digests: readonly string[]): Promise<void> {
  const missing = (await intake?.missingBundles(digests)) ?? []
  if (missing.length === 0) return
  throw new SteadError({
    code: 'operator.bundles-missing',
    message: `${missing.length} of its bundles are not on this machine: ${missing.map((digest) => digest.slice(0, 12)).join(', ')}`,
    hint: 'They were swept meanwhile, or never came: deploy again.',
    retry: 'now',
  })
}

function intakeOf({ intake }: Operations): Intake {
  if (intake !== null) return intake
  throw new SteadError({
    code: 'operator.owner-only',
    message: 'an app of `stead up` is made from the files here: nothing is brought to it',
    hint: 'Bring it to `stead serve`.',
  })
}
