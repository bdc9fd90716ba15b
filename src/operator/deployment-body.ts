/** A deployment as the body of a request. Invariant: what passes has a valid graph, and bundles that are on the machine. */
import { z } from 'zod'
import { parseGraph } from '../model/index.ts'
import { type Strategy, strategies } from '../release/index.ts'
import { badRequest } from './bad-request.ts'
import { needBundles } from './intake-routes.ts'
import type { Deployment, Operations } from './operations.ts'
import type { Question } from './route.ts'

const share = z.number().positive().max(100)

const schema = z.object({
  graph: z.unknown(),
  bundles: z.record(z.string(), z.string()),
  origin: z.string().nullable(),
  rollout: z
    .object({
      strategy: z.enum(strategies as readonly [Strategy, ...Strategy[]]).exactOptional(),
      watchMs: z.number().min(0).exactOptional(),
      lockMsMax: z.int().positive().max(3_600_000).exactOptional(),
      shares: z.array(share).max(20).exactOptional(),
      judgement: z
        .object({
          requestsMin: z.number().min(1),
          errorsAboveMax: z.number().min(0).max(1),
          slowerMax: z.number().min(1),
        })
        .exactOptional(),
    })
    .exactOptional(),
})

/** Throws `operator.bad-request`, and as `parseGraph` and `needBundles` do. */
export async function deploymentOf(operations: Operations, { path, body }: Question): Promise<Deployment> {
  const parsed = schema.safeParse(await body())
  if (!parsed.success) throw badRequest(parsed.error.issues[0]?.message ?? 'not a deployment')
  const graph = await parseGraph(parsed.data.graph)
  if (graph.app !== path['app']) throw badRequest(`the graph is of ${graph.app}, the path says ${path['app']}`)
  await needBundles(operations, Object.values(parsed.data.bundles))
  return { ...parsed.data, graph }
}
