/**
 * A rollout as a person follows it: a line for each step when it is done, and how it ended. Invariant: whoever stops
 * looking has not stopped it.
 */
import { isSteadError, SteadError } from '../base/index.ts'
import type { OperatorClient, ReleaseStatus } from '../operator/index.ts'
import type { StepRecord } from '../release/index.ts'
import { reportLines } from './release-text.ts'
import { print, type Steps } from './terminal.ts'

/** Words of the steps, for whoever waits for them. */
const words: Readonly<Record<StepRecord['step'], string>> = {
  rehearse: 'rehearse on a copy of the data',
  stop: 'hold requests, stop what writes',
  checkpoint: 'checkpoint',
  expand: 'expand the schema',
  start: 'start the new release',
  shift: 'shift the traffic',
  watch: 'watch',
  confirm: 'confirm',
  contract: 'contract the schema',
  'take-back': 'take it back',
  prepare: 'copy the checkpoint',
  exchange: 'exchange data and code',
  report: 'compare what is left behind',
}

/** Follows a release until its rollout, and the return that may follow from it, have ended. Answers the last of them. */
export async function followRelease(
  operator: Pick<OperatorClient, 'releases'>,
  app: string,
  release: number,
  steps: Steps,
  signal: AbortSignal,
): Promise<ReleaseStatus> {
  let last: ReleaseStatus | null = null
  let told = 0
  for await (const status of operator.releases.watch(app, release, signal)) {
    last = status
    const over = (status.rollout?.steps ?? []).filter(({ endMs }) => endMs !== null)
    over.slice(told).forEach((step, index) => tell(step, hasFailed(status, told + index), steps))
    told = over.length
  }
  if (last === null || last.state === 'rolling-out') throw notFollowed(app, signal.aborted)
  if (last.state !== 'handed-over') return last
  const outcome = last.rollout?.outcome ?? null
  if (outcome !== null && 'reason' in outcome) steps.say(`  its data has to go back too: ${outcome.reason}`)
  const { releases } = await operator.releases.list(app)
  const next = releases.find(({ number }) => number > release)
  return next === undefined ? last : followRelease(operator, app, next.number, steps, signal)
}

/** Whether what followed from a step was the way back. */
function hasFailed({ rollout }: ReleaseStatus, index: number): boolean {
  const next = rollout?.steps[index + 1]
  const outcome = rollout?.outcome?.kind
  if (next !== undefined) return next.step === 'take-back'
  return outcome === 'refused' || outcome === 'handed-over' || outcome === 'stuck'
}

function tell({ step, startMs, endMs, lines }: StepRecord, failed: boolean, steps: Steps): void {
  const tookMs = (endMs ?? startMs) - startMs
  if (failed) steps.failed(words[step], tookMs, lines[0] ?? '')
  else steps.done(words[step], tookMs, lines[0] ?? '')
  for (const line of lines.slice(1)) steps.say(`    ${line}`)
}

/** Throws how it ended when it did not end as it was asked for; prints the report of a return. */
export function settle(app: string, status: ReleaseStatus, json: boolean): void {
  if (!json) for (const line of reportLines(app, status)) print(line)
  const { state, rollout, number } = status
  if (state === 'confirmed') return
  const outcome = rollout?.outcome ?? null
  const reason = outcome !== null && 'reason' in outcome ? outcome.reason : 'it did not say why'
  const wanted = state === 'returned' && rollout?.kind === 'return' && rollout.reason === null
  if (wanted) return
  const what = {
    refused: 'was refused; nothing was changed',
    'taken-back': 'was taken back',
    returned: 'was taken back',
    'handed-over': 'was taken back',
    stuck: 'is stuck',
    'rolling-out': 'is still being rolled out',
  }[state]
  throw new SteadError({
    code:
      state === 'stuck' ? 'cli.release-stuck' : state === 'refused' ? 'cli.release-refused' : 'cli.release-taken-back',
    message: `release ${number} of ${app} ${what}: ${reason}`,
    hint: `\`stead releases ${number} --app ${app}\` shows its steps.`,
  })
}

function notFollowed(app: string, aborted: boolean): SteadError {
  return new SteadError({
    code: 'cli.follow-ended',
    message: aborted ? 'not followed any more' : `what became of the release of ${app} was not heard`,
    hint: `It goes on: see \`stead releases --app ${app}\`. \`stead rollback --cancel --app ${app}\` takes it back.`,
    retry: 'later',
  })
}

/** The same error with a hint for whoever was cut off from a platform that went away. */
export function cutOff(app: string, aborted: boolean, error: unknown): Error {
  const gone = isSteadError(error) && error.code === 'operator.not-running'
  return !gone && !aborted && error instanceof Error ? error : notFollowed(app, aborted)
}
