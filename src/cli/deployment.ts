/** The last steps of every deployment: it is handed over, followed until it serves, and its addresses are told. */
import { isSteadError, SteadError } from '../base/index.ts'
import type { Graph, Part } from '../model/index.ts'
import type { OperatorClient } from '../operator/index.ts'
import { partFailure } from './failure.ts'
import { followDeployment } from './following.ts'
import { print, type Steps } from './terminal.ts'

/** How many last lines of output are shown of a part that does not come up. */
const tailLines = 20
const linesMs = 5000

export interface HandOver {
  readonly operator: OperatorClient
  readonly graph: Graph
  readonly bundles: Readonly<Record<string, string>>
  readonly origin: string | null
  readonly steps: Steps
  readonly signal: AbortSignal
  readonly json: boolean
  /** Of `performance.now()`. */
  readonly startMs: number
}

/** Throws `cli.part-failed` when a part does not come up; what ran before goes on then. */
export async function handOver({
  operator,
  graph,
  bundles,
  origin,
  steps,
  signal,
  json,
  startMs,
}: HandOver): Promise<void> {
  const { release } = await steps.run('hand it over', async (detail) => {
    const answer = await operator.deploy({ graph, bundles, origin })
    detail(`release ${answer.release}`)
    return answer
  })
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
  if (json) print(JSON.stringify({ app: graph.app, release, urls, tookMs: Math.round(performance.now() - startMs) }))
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
