/** The last steps of every deployment: it is handed over, followed until it serves, and its addresses are told. */
import { isSteadError, SteadError } from '../base/index.ts'
import type { Graph, Part } from '../model/index.ts'
import type { OperatorClient, RolloutWish } from '../operator/index.ts'
import { partFailure } from './failure.ts'
import { cutOff, followRelease, settle } from './follow-release.ts'
import { followDeployment } from './following.ts'
import { print, type Steps } from './terminal.ts'

/** How many last lines of output are shown of a part that does not come up. */
const tailLines = 20
const linesMs = 5000

/** How a person wants it deployed. */
export interface DeployWish {
  readonly rollout: RolloutWish
  /** Only say what would change. */
  readonly planOnly: boolean
}

export interface HandOver {
  readonly operator: OperatorClient
  readonly graph: Graph
  readonly bundles: Readonly<Record<string, string>>
  readonly origin: string | null
  readonly steps: Steps
  readonly signal: AbortSignal
  readonly json: boolean
  readonly wish: DeployWish
  /** Of `performance.now()`. */
  readonly startMs: number
}

/**
 * Throws `cli.part-failed` when a part does not come up, `cli.release-refused` or `cli.release-taken-back` where there was a
 * release before it; what ran before goes on then.
 */
export async function handOver({
  operator,
  graph,
  bundles,
  origin,
  steps,
  signal,
  json,
  wish,
  startMs,
}: HandOver): Promise<void> {
  const deployment = { graph, bundles, origin, rollout: wish.rollout }
  const plan = await steps.run('see what will change', () => operator.releases.plan(deployment))
  for (const line of plan.lines) steps.say(`    ${line}`)
  if (wish.planOnly) {
    if (json) print(JSON.stringify({ app: graph.app, plan }))
    return
  }
  const { release } = await steps.run('hand it over', async (detail) => {
    const answer = await operator.deploy(deployment)
    detail(`release ${answer.release}`)
    return answer
  })
  if (plan.direct === null) {
    try {
      settle(graph.app, await followRelease(operator, graph.app, release, steps, signal), json)
    } catch (error) {
      throw cutOff(graph.app, signal.aborted, error)
    }
    return printWays(operator, graph.app, release, json, startMs)
  }
  const failed = await followDeployment(operator, graph, steps, signal).catch((error: unknown) => {
    const gone = isSteadError(error) && error.code === 'operator.not-running'
    throw gone || signal.aborted ? notFollowed(graph.app, signal.aborted, error) : error
  })
  if (failed !== null) {
    await showLastLines(operator, graph.app, failed.part, steps)
    throw partFailure(failed.part, failed.reason)
  }
  const { urls, release: inForce } = await operator.status(graph.app)
  if (inForce !== release) steps.say(`  meanwhile somebody deployed release ${inForce}, which is in force now`)
  printUrls(graph.app, release, urls, json, startMs)
}

async function printWays(
  operator: OperatorClient,
  app: string,
  release: number,
  json: boolean,
  startMs: number,
): Promise<void> {
  const { urls } = await operator.status(app)
  printUrls(app, release, urls, json, startMs)
}

function printUrls(app: string, release: number, urls: readonly string[], json: boolean, startMs: number): void {
  if (json) print(JSON.stringify({ app, release, urls, tookMs: Math.round(performance.now() - startMs) }))
  else for (const url of urls) print(url)
}

/** It was handed over: whoever stops looking, or cannot look any more, has not stopped it. */
function notFollowed(app: string, aborted: boolean, cause: unknown): SteadError {
  return new SteadError({
    code: 'cli.follow-ended',
    message: aborted ? 'not followed any more' : `${app} was handed over, and what became of it was not heard`,
    hint: `The deployment goes on: see \`stead status ${app}\`.`,
    retry: 'later',
    cause,
  })
}

async function showLastLines(operator: OperatorClient, app: string, part: Part, steps: Steps): Promise<void> {
  if (part.kind === 'resource') return
  const options = { tail: tailLines, follow: false, signal: AbortSignal.timeout(linesMs) }
  try {
    const lines = (await Array.fromAsync(operator.logs(app, part.name, options))).slice(-tailLines)
    steps.say(lines.length === 0 ? `  ${part.name} printed nothing.` : `  The last lines of ${part.name}:`)
    for (const line of lines) steps.say(`    ${line.text}`)
  } catch (error) {
    // Who may not read them still hears why the part gave up.
    if (!isSteadError(error)) throw error
  }
}
