/**
 * What a deployment will do, as lines for a person to read before it happens. Invariant: whatever makes somebody wait, is
 * refused, or cannot be undone without losing writes is said here.
 */
import { jsonEqual } from '../base/index.ts'
import { describeDiff, diffGraphs, formatDuration, type Graph, type Part } from '../model/index.ts'
import type { DeployOptions } from './begin.ts'
import { judgementDefault, sharesDefault } from './begin.ts'
import { stepsOf } from './steps.ts'

/** What a release runs. */
export interface Content {
  readonly graph: Graph
  readonly bundles: Readonly<Record<string, string>>
  readonly secrets: Readonly<Record<string, number>>
}

/** What is declared for a resource and not in force, as its provider tells. */
export interface PendingChange {
  readonly part: string
  readonly migrates: 'none' | 'expand' | 'stop'
  readonly statements: readonly {
    readonly file: string
    readonly half: 'expand' | 'contract' | 'whole'
    readonly text: string
  }[]
}

export interface Change {
  /** Null at the very first release. */
  readonly before: Content | null
  readonly after: Content
  readonly deploy: Pick<
    DeployOptions,
    'old' | 'new' | 'strategy' | 'migrates' | 'contracts' | 'hasData' | 'watchMs' | 'shares' | 'judgement'
  >
  readonly pending: readonly PendingChange[]
  /** How long requests may wait at the gateways, milliseconds. */
  readonly holdMaxMs: number
}

/** A statement is shown up to here. */
const textMax = 160

/** Statements are shown up to this number of lines; a longer list says how many more. */
const statementsMax = 50

/** What the deployment will do. Empty lines separate nothing: each line stands for itself. */
export function describeChange(change: Change): readonly string[] {
  const { before, after, deploy } = change
  if (deploy.old === null || before === null) {
    return [`release ${deploy.new} is the first`, ...describeDiff(diffGraphs(emptyGraph(after.graph), after.graph))]
  }
  const diff = describeDiff(diffGraphs(before.graph, after.graph))
  const starts = restartsOf(before, after)
  return [
    `release ${deploy.old} -> ${deploy.new}`,
    ...(diff.length === 0 ? ['nothing is declared differently'] : diff),
    ...statementsOf(change),
    ...starts.map(({ part, why }) => `restarts ${part}: ${why}`),
    ...(starts.length === 0 ? ['nothing restarts'] : []),
    ...courseOf(change),
  ]
}

/** Parts whose instances are replaced, and why. Sorted by name. */
export function restartsOf(before: Content, after: Content): readonly { part: string; why: string }[] {
  const old = new Map(before.graph.parts.map((part) => [part.name, part]))
  return after.graph.parts.flatMap((part) => {
    const was = old.get(part.name)
    if (part.kind !== 'service' || was?.kind !== 'service') return []
    const why = [
      ...(before.bundles[part.name] === after.bundles[part.name] ? [] : ['its code has changed']),
      ...(jsonEqual(programOf(was), programOf(part)) ? [] : ['its declaration has changed']),
      ...part.uses
        .map((use) => use.part)
        .filter((used) => part.onSecretChange === 'restart' && before.secrets[used] !== after.secrets[used])
        .map((used) => `${used} has a new version`),
    ]
    return why.length === 0 ? [] : [{ part: part.name, why: why.join(', ') }]
  })
}

/** Another number of instances restarts none of them. */
function programOf(part: Part): Part {
  return part.kind === 'service' ? { ...part, replicas: 1 } : part
}

function emptyGraph({ version, app }: Graph): Graph {
  return { version, app, parts: [], routes: [] }
}

function statementsOf({ pending, deploy }: Change): string[] {
  const stops = deploy.migrates === 'stop'
  const when = {
    expand: 'runs at once',
    contract: stops ? 'runs with it' : 'runs after the watch',
    whole: 'runs while the app is stopped',
  }
  const lines = pending.flatMap(({ part, statements }) =>
    statements.map(({ file, half, text }) => {
      const flat = text.replaceAll(/\s+/g, ' ').trim()
      const shown = flat.length > textMax ? `${flat.slice(0, textMax - 1)}…` : flat
      return `${part} ${file} (${stops && half === 'expand' ? when.whole : when[half]}): ${shown}`
    }),
  )
  if (lines.length <= statementsMax) return lines
  return [...lines.slice(0, statementsMax), `and ${lines.length - statementsMax} statements more`]
}

function courseOf({ deploy, holdMaxMs, pending }: Change): string[] {
  const stops = deploy.migrates === 'stop'
  const { requestsMin, errorsAboveMax, slowerMax } = deploy.judgement ?? judgementDefault
  const whole = pending.filter((change) => change.migrates === 'stop').map((change) => change.part)
  return [
    `steps: ${stepsOf(deploy).join(', ')}`,
    ...(stops
      ? [
          `stops the app: a migration of ${whole.join(', ')} comes without halves, so no two releases can share the data; requests wait meanwhile, and those that wait longer than ${formatDuration(holdMaxMs)} are refused`,
        ]
      : [`replaces ${strategyOf(deploy)}; requests do not wait`]),
    `watches it for ${formatDuration(deploy.watchMs)}, and takes it back when an instance fails, or when from ${requestsMin} requests on it surely has more than ${percent(errorsAboveMax)} more errors than the old release, or stays ${slowerMax} times as slow`,
    stops
      ? 'if it is taken back, the data goes back too: what was written since is kept as a branch and listed'
      : 'if it is taken back, only the code goes back: no write is lost',
    ...(deploy.hasData ? [] : ['there is no data, so no checkpoint is taken']),
    ...(deploy.contracts && !stops
      ? ['once the second halves have run, going back to the old release needs its data too']
      : []),
  ]
}

function strategyOf({ strategy, shares = sharesDefault }: Change['deploy']): string {
  if (strategy === 'rolling') return 'one instance after another'
  if (strategy === 'blue-green')
    return 'all at once: the new release is started beside the old one, then gets every request'
  return `in shares: the new release is started beside the old one and gets ${shares.join(', ')} % of the requests`
}

function percent(share: number): string {
  return `${Number((share * 100).toFixed(2))} %`
}
