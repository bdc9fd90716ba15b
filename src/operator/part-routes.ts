/** What is asked of single parts, over HTTP: orders, jobs, streams to what runs; and which bundles are needed. */
import { z } from 'zod'
import type { DebugLook } from '../protocol/index.ts'
import { badRequest } from './bad-request.ts'
import type { Right } from './caller.ts'
import { objectDeeds, type Operations, type PartOrderKind, type StreamWay, wayOf, wordsOf } from './operations.ts'
import { type Answer, type Question, type Route, value } from './route.ts'

const bindTo = z.object({ host: z.string().max(253), port: z.int().min(1).max(65_535) })

export const partRoutes: readonly Route[] = [
  ...(['stop', 'start', 'restart'] as const).map(orderRoute),
  {
    method: 'GET',
    path: '/v1/apps/:app/jobs',
    right: 'read',
    answer: (operations, { path, query }) => value(operations.jobs(path['app'] ?? '', query.get('part'))),
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/parts/:part/run',
    right: 'operate',
    answer: async (operations, { path, caller, signal }) => ({
      kind: 'lines',
      lines: await operations.run(path['app'] ?? '', path['part'] ?? '', caller.name, signal),
    }),
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/parts/:part/bind',
    right: 'exec',
    answer: bind,
  },
  ...objectDeeds.map((deed): Route => ({
    method: 'POST',
    path: `/v1/apps/:app/parts/:part/objects/${deed}`,
    right: 'exec',
    answer: bind,
  })),
  streamRoute('stream', 'exec'),
  {
    method: 'POST',
    path: '/v1/apps/:app/parts/:part/stack',
    right: 'debug',
    answer: async (operations, question) => value(await lookOnce(operations, question, () => ({ what: 'stack' }))),
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/parts/:part/profile',
    right: 'debug',
    answer: async (operations, question) => value(await profileOf(operations, question)),
  },
  streamRoute('debug', 'debug'),
  streamRoute('values', 'values'),
  streamRoute('evaluate', 'evaluate'),
  streamRoute('kernel', 'kernel'),
  streamRoute('machine', 'operate'),
  traceRoute('trace'),
  traceRoute('trace-any'),
  {
    method: 'GET',
    path: '/v1/bundles',
    right: 'read',
    answer: (operations) => value(operations.bundles()),
  },
]

/** What is asked of an instance; without a body, of the one that came last, and as usual. */
const lookBody = z
  .object({
    instance: z.string().max(200).nullable().default(null),
    kind: z.enum(['cpu', 'wall', 'heap']).default('cpu'),
    seconds: z.int().min(1).max(60).default(5),
  })
  .prefault({})

/** What a look finds, as one value, for those who cannot follow a stream. */
async function lookOnce(
  operations: Operations,
  { path, body, gate, caller, signal }: Question,
  lookOf: (asked: z.infer<typeof lookBody>) => DebugLook,
): Promise<unknown> {
  const parsed = lookBody.safeParse((await body()) ?? undefined)
  if (!parsed.success) throw badRequest(parsed.error.issues[0]?.message ?? 'no look')
  const [app = '', part = ''] = [path['app'], path['part']]
  const order = { kind: 'debug', instance: parsed.data.instance, look: lookOf(parsed.data) } as const
  const words = wordsOf(order)
  if (words !== null) await gate?.looked({ caller, operation: words, app, part })
  const stream = operations.open(app, part, order, caller.name)
  const close = (): void => stream.close()
  signal.addEventListener('abort', close, { once: true })
  try {
    const said: Uint8Array[] = []
    for await (const { to, bytes } of stream.pieces) if (to === 'out') said.push(bytes)
    await stream.ended
    return JSON.parse(Buffer.concat(said).toString())
  } finally {
    signal.removeEventListener('abort', close)
    stream.close()
  }
}

/** A profile without what only the language's own tools read. */
async function profileOf(operations: Operations, question: Question): Promise<unknown> {
  const found = await lookOnce(operations, question, ({ kind, seconds }) => ({
    what: 'profile',
    profile: kind,
    durationMs: seconds * 1000,
  }))
  const { raw: _raw, ...shown } = typeof found === 'object' && found !== null ? { raw: null, ...found } : { raw: null }
  return shown
}

async function bind(operations: Operations, { path, body }: Question): Promise<Answer> {
  const parsed = bindTo.safeParse(await body())
  if (!parsed.success) throw badRequest(parsed.error.issues[0]?.message ?? 'no address')
  const { host, port } = parsed.data
  return value({ binding: await operations.bind(path['app'] ?? '', path['part'] ?? '', host, port) })
}

/** Each way takes what its right is for, and nothing else. */
function streamRoute(way: Exclude<StreamWay, 'trace' | 'trace-any'>, right: Right): Route {
  return {
    method: 'POST',
    path: `/v1/apps/:app/parts/:part/${way}`,
    right,
    answer: (operations, { path, gate, caller }) => ({
      kind: 'stream',
      async open(order) {
        if (order.kind === 'trace' || wayOf(order) !== way) throw badRequest(`this is not asked for at /${way}`)
        const [app = '', part = ''] = [path['app'], path['part']]
        const note = async (operation: string): Promise<void> => await gate?.looked({ caller, operation, app, part })
        // What cannot be recorded is not done.
        const words = wordsOf(order)
        if (words !== null) await note(words)
        const onAsked = (what: string): void => void note(what).catch(() => stream.close())
        const stream = operations.open(app, part, order, caller.name, onAsked)
        return stream
      },
    }),
  }
}

/** Traces are of a machine: the right to them is needed on the platform itself. */
function traceRoute(way: 'trace' | 'trace-any'): Route {
  return {
    method: 'POST',
    path: `/v1/${way}`,
    right: way,
    answer: (operations, { gate, caller }) => ({
      kind: 'stream',
      async open(order) {
        if (order.kind !== 'trace' || wayOf(order) !== way) throw badRequest(`this is not asked for at /${way}`)
        const operation = wordsOf(order) ?? way
        await gate?.looked({ caller, operation, app: null, part: order.node })
        return operations.trace(order)
      },
    }),
  }
}

function orderRoute(kind: PartOrderKind): Route {
  return {
    method: 'POST',
    path: `/v1/apps/:app/parts/:part/${kind}`,
    right: 'operate',
    answer: async (operations, { path, caller }) => {
      await operations.order(path['app'] ?? '', path['part'] ?? '', kind, caller.name)
      return value({ done: kind })
    },
  }
}
