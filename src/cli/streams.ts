/** Where a stream to a part leads, and what an operator is told to reach a resource by himself. */
import { SteadError, systemClock } from '../base/index.ts'
import { type AppView, operatorConsumer } from '../control/index.ts'
import type { OperatorBinding, PartStreamOrder } from '../operator/index.ts'
import type { RemoteStream, StreamTarget } from '../protocol/index.ts'
import { observed } from './asked.ts'
import type { Platform } from './platform.ts'
import { resourceTypes } from './resource-types.ts'

/** Longest wait until the operator has been let into a resource. */
const bindTimeoutMs = 30_000

/** Throws `cli.unknown-part`, `cli.not-ready`, and what `control.open` does. */
export function openStream(
  platform: Pick<Platform, 'view' | 'open'>,
  {
    app,
    part,
    order,
    by,
  }: { readonly app: string; readonly part: string; readonly order: PartStreamOrder; readonly by: string },
  onAsked?: (what: string) => void,
): RemoteStream {
  const view = platform.view(app)
  const assignment = view === null ? null : assignmentOf(view, app, part, order)
  if (assignment !== null) {
    const stream = platform.open(targetOf(order, assignment, by))
    const isDebugger = order.kind === 'debug' && order.look.what === 'dap'
    return isDebugger && onAsked !== undefined ? observed(stream, onAsked) : stream
  }
  throw new SteadError({
    code: 'cli.not-ready',
    message: `${nameOf(part, order)} does not run at this moment`,
    hint: 'See `stead status`, and `stead logs` for why.',
    retry: 'later',
  })
}

/** What to reach: for a connection what serves, for a program what runs; of several the one that came last. */
function assignmentOf(view: AppView, app: string, part: string, order: PartStreamOrder): string | null {
  const declared = partOf(view, app, part)
  if (order.kind === 'core') return leftCore(view, part, order.instance)
  if (declared.kind === 'resource') return `${app}.${part}`
  const running = view.instances
    .filter(({ record, status }) => record.part.name === part && status !== null && status.pid !== null)
    .toSorted((a, b) => a.record.sinceMs - b.record.sinceMs)
  const named = instanceIn(order)
  if (named !== null) return running.find(({ record }) => isNamed(record.id, named))?.record.id ?? null
  const active = running.filter(({ record }) => record.phase === 'active')
  const ready = active.filter(({ status }) => status?.phase === 'ready')
  const found = ready.at(-1) ?? (order.kind === 'connect' ? undefined : (active.at(-1) ?? running.at(-1)))
  return found?.record.id ?? null
}

/** The instance whose core is the newest. Throws `cli.no-core`. */
function leftCore(view: AppView, part: string, named: string | null): string {
  const found = view.instances
    .filter(({ record, status }) => record.part.name === part && status?.lastEnd?.core !== undefined)
    .filter(({ record }) => named === null || isNamed(record.id, named))
    .toSorted((a, b) => (a.status?.lastEnd?.timeMs ?? 0) - (b.status?.lastEnd?.timeMs ?? 0))
    .at(-1)
  if (found !== undefined) return found.record.id
  throw new SteadError({
    code: 'cli.no-core',
    message: `no core file of ${named === null ? part : `instance ${named} of ${part}`} is kept`,
    hint: `\`stead why ${part}\` says how it ended. One is kept of parts with limits: { core: '500MB' }, where \`stead core --on\` has allowed it.`,
  })
}

function nameOf(part: string, order: PartStreamOrder): string {
  const instance = instanceIn(order)
  return instance === null ? part : `instance ${instance} of ${part}`
}

function instanceIn(order: PartStreamOrder): string | null {
  return 'instance' in order ? order.instance : null
}

/** By its whole name, or the end of it, which is its own. */
function isNamed(id: string, word: string): boolean {
  return id === word || id.endsWith(`.${word}`) || id.endsWith(`-${word}`)
}

function targetOf(order: PartStreamOrder, assignment: string, by: string): StreamTarget {
  if (order.kind === 'capture') {
    const { instance: _instance, ...capture } = order
    return { ...capture, assignment }
  }
  if (order.kind === 'core') return { kind: 'core', assignment }
  if (order.kind === 'machine' && order.what === 'debugger')
    return { ...order, assignment, debugger: { by, traffic: 'drain' } }
  if (order.kind !== 'debug') return { ...order, assignment }
  const { look, traffic = 'drain', resume } = order
  const named = resume === undefined ? {} : { resume }
  return { kind: 'debug', assignment, look, debugger: { by, traffic }, ...named }
}

function partOf(view: AppView, app: string, name: string): AppView['app']['graph']['parts'][number] {
  const { parts } = view.app.graph
  const found = parts.find((part) => part.name === name)
  if (found !== undefined) return found
  throw new SteadError({
    code: 'cli.unknown-part',
    message: `${app} has no part called ${name}`,
    hint: `It has: ${parts.map((part) => part.name).join(', ')}.`,
  })
}

/** Lets the operator in and answers what programs are told; null for a part that is no resource. */
export async function bindOperator(
  platform: Pick<Platform, 'view' | 'secrets' | 'onChange'>,
  asked: {
    readonly app: string
    readonly part: string
    readonly host: string
    readonly port: number
  },
): Promise<OperatorBinding | null> {
  const { app, part, host, port } = asked
  const view = platform.view(app)
  const declared = view === null ? null : partOf(view, app, part)
  if (declared?.kind !== 'resource') return null
  const provider = (await resourceTypes()).find(({ type }) => type === declared.type)
  if (provider === undefined || provider.port === null) {
    throw new SteadError({
      code: 'cli.nothing-to-reach',
      message: `${part} is a ${declared.type}, which nothing can be connected to`,
      hint: 'A database can, and a service.',
    })
  }
  const grant = await platform.secrets.letIn(app, part)
  await letIn(platform, app, part)
  // A branch has the data, and so the names in it, of the app that it was made from.
  const dataApp = view?.app.branch?.app ?? app
  const { env } = provider.bind({ app: dataApp, name: part, config: declared.config }, grant, {
    host,
    address: host,
    port,
  })
  return { type: declared.type, env }
}

/** Resolves when the resource has let the operator in. Throws `cli.not-ready`. */
async function letIn(platform: Pick<Platform, 'view' | 'onChange'>, app: string, part: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const look = (): void => {
    const status = platform.view(app)?.resources.find((resource) => resource.part === part)?.status
    if (status?.credentials?.some((name) => name.startsWith(`${operatorConsumer}@`)) === true) resolve()
  }
  const late = (): void =>
    reject(
      new SteadError({
        code: 'cli.not-ready',
        message: `${part} has not let you in within ${bindTimeoutMs / 1000} s`,
        hint: 'See `stead status`.',
        retry: 'later',
      }),
    )
  using _listening = platform.onChange(look)
  using _timer = systemClock.after(bindTimeoutMs, late)
  look()
  await promise
}
