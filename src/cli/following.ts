/** A deployment as a person follows it: each part as it gets ready, and why one does not. */
import { SteadError } from '../base/index.ts'
import type { Graph, Part } from '../model/index.ts'
import type { OperatorClient, PartStatus, Status } from '../operator/index.ts'
import { type Failed, waitsForPerson } from './starting.ts'
import { paint, type Steps } from './terminal.ts'

/** A part that is neither ready nor has given up after this long is not waited for. */
const followMs = 15 * 60_000

/**
 * Prints a line for each part that is in force, and for what goes wrong meanwhile. Answers what gave up, or null when all
 * is in force. Throws `cli.follow-ended` when the platform stops answering or it takes too long: the deployment goes on.
 */
export async function followDeployment(
  operator: Pick<OperatorClient, 'watch'>,
  graph: Graph,
  steps: Steps,
  signal: AbortSignal,
): Promise<Failed | null> {
  const startMs = performance.now()
  const told = new Set<string>()
  const troubles = new Map<string, string>()
  const until = AbortSignal.any([signal, AbortSignal.timeout(followMs)])
  for await (const status of operator.watch(graph.app, until)) {
    for (const part of graph.parts) {
      if (told.has(part.name)) continue
      const own = status.parts.filter((candidate) => candidate.part === part.name)
      const gaveUp = own.find(({ current, phase }) => current && hasFailed(part, phase))
      if (gaveUp !== undefined) return { part, reason: gaveUp.reason ?? 'it ended' }
      if (isInForce(part, own)) {
        told.add(part.name)
        steps.done(`${part.name} ${doneWord(part)}`, performance.now() - startMs)
        continue
      }
      const inTrouble = own.find(({ phase, reason }) => phase === 'backing-off' || isForPerson(reason))
      const trouble = inTrouble?.reason?.split('\n')[0]
      if (trouble === undefined || troubles.get(part.name) === trouble) continue
      troubles.set(part.name, trouble)
      const again = isForPerson(trouble) ? '' : '; trying again'
      steps.say(`  ${paint('yellow', part.name, process.stderr)} ${trouble}${again}`)
    }
    if (told.size === graph.parts.length) return null
  }
  throw new SteadError({
    code: 'cli.follow-ended',
    message: signal.aborted
      ? 'not followed any more'
      : `${graph.app} was handed over, and what became of it was not heard`,
    hint: `The deployment goes on: see \`stead status ${graph.app}\`.`,
    retry: 'later',
  })
}

/** Whether it waits until somebody sets a secret. */
function isForPerson(reason: string | null): boolean {
  return reason?.includes(waitsForPerson) === true
}

function hasFailed(part: Part, phase: PartStatus['phase']): boolean {
  if (part.kind === 'job') return part.schedule === null && (phase === 'failed' || phase === 'gave-up')
  return phase === 'gave-up'
}

/** Whether only what is of the release in force runs, and it serves. */
function isInForce(part: Part, own: Status['parts']): boolean {
  if (part.kind === 'job') return part.schedule !== null || own.some(({ phase }) => phase === 'succeeded')
  const wanted = part.kind === 'service' ? part.replicas : 1
  return own.every(({ current }) => current) && own.filter(({ phase }) => phase === 'ready').length >= wanted
}

function doneWord(part: Part): string {
  if (part.kind !== 'job') return 'is ready'
  return part.schedule === null ? 'has run' : 'is scheduled'
}
