/**
 * How a rollout begins: its first record. Invariant: what cannot be rolled out is refused here; every record made here can
 * be advanced to an end.
 */
import { assert, SteadError } from '../base/index.ts'
import { branchName } from './names.ts'
import type { Deploy, Judgement, Migrates, Return, Strategy } from './rollout.ts'
import { stepsOf } from './steps.ts'

/** When a new release is taken back, unless somebody said otherwise. */
export const judgementDefault: Judgement = { requestsMin: 50, errorsAboveMax: 0.01, slowerMax: 2 }

/** Shares of a canary unless somebody said otherwise. */
export const sharesDefault: readonly number[] = [10, 50, 100]

const sharesCountMax = 20
const watchMsMax = 24 * 3_600_000

export interface DeployOptions {
  readonly id: string
  readonly app: string
  readonly by: string
  readonly nowMs: number
  /** Number of the release that serves; null at the very first. */
  readonly old: number | null
  readonly new: number
  readonly strategy: Strategy
  /** What is pending, over all resources: the worst of them. */
  readonly migrates: Migrates
  readonly contracts: boolean
  readonly hasData: boolean
  /** How long it is watched, in all shares together, milliseconds. */
  readonly watchMs: number
  readonly judgement?: Judgement
  /** Of a canary. Growing, the last one 100. */
  readonly shares?: readonly number[]
}

export interface ReturnOptions {
  readonly id: string
  readonly app: string
  readonly by: string
  readonly nowMs: number
  readonly old: number
  readonly new: number
  readonly target: number
  /** The checkpoint that the data goes back to; null: code only. `checkpointFor` finds it. */
  readonly checkpoint: string | null
  /** Why the platform goes back by itself; absent: somebody asked for it. */
  readonly reason?: string | null
  /** Everything is stopped already. */
  readonly stopped?: boolean
}

/** The first record of a deployment. Throws `release.bad-options`. */
export function beginDeploy(options: DeployOptions): Deploy {
  const { nowMs, judgement = judgementDefault, shares: asked, ...rest } = options
  // What migrates has data: without its checkpoint there would be no way back.
  const given = { ...rest, hasData: rest.hasData || rest.migrates !== 'none' || rest.contracts }
  const shares = given.strategy === 'canary' ? (asked ?? sharesDefault) : [100]
  const wrong = wrongShares(shares) ?? wrongWatch(given.watchMs) ?? wrongJudgement(judgement)
  if (wrong !== null) throw badOptions(wrong)
  const first = stepsOf(given)[0] ?? 'start'
  return {
    ...given,
    kind: 'deploy',
    judgement,
    shares,
    share: 0,
    startMs: nowMs,
    step: first,
    stepMs: nowMs,
    steps: [{ step: first, startMs: nowMs, endMs: null, lines: [] }],
    outcome: null,
    checkpoint: null,
    takingBack: null,
    cancelledBy: null,
    slowSinceMs: null,
  }
}

/** The first record of a return to an earlier release. */
export function beginReturn(options: ReturnOptions): Return {
  const { nowMs, reason = null, stopped = false, ...given } = options
  const withData = given.checkpoint !== null
  assert(reason === null || withData, 'the platform goes back by itself with code only within the deployment')
  assert(!stopped || reason !== null, 'only a deployment leaves everything stopped')
  return {
    ...given,
    kind: 'return',
    withData,
    reason,
    stopped,
    branch: withData ? branchName(given.new) : null,
    startMs: nowMs,
    step: 'prepare',
    stepMs: nowMs,
    steps: [{ step: 'prepare', startMs: nowMs, endMs: null, lines: [] }],
    outcome: null,
    takingBack: null,
    cancelledBy: null,
  }
}

function wrongShares(shares: readonly number[]): string | null {
  const grows = shares.every((share, index) => share > (shares[index - 1] ?? 0))
  if (grows && shares.at(-1) === 100 && shares.length <= sharesCountMax) return null
  return `the shares ${shares.join(', ')} do not grow from above 0 to 100 in at most ${sharesCountMax} steps`
}

function wrongWatch(watchMs: number): string | null {
  return watchMs >= 0 && watchMs <= watchMsMax ? null : 'a release is watched for no longer than a day'
}

function wrongJudgement({ requestsMin, errorsAboveMax, slowerMax }: Judgement): string | null {
  if (!(requestsMin >= 1)) return 'a judgement needs at least one request'
  if (!(errorsAboveMax >= 0 && errorsAboveMax <= 1)) return 'the share of errors lies between 0 and 1'
  return slowerMax >= 1 ? null : 'the new release cannot be required to be faster than the old one'
}

function badOptions(what: string): SteadError {
  return new SteadError({
    code: 'release.bad-options',
    message: `the deployment cannot begin: ${what}`,
    hint: 'Nothing was changed; correct it and deploy again.',
  })
}
