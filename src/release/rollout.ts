/**
 * A rollout as data: where a deployment or a return to an earlier release stands, what is seen of the app meanwhile, and
 * the shape that the app is to have in every step. The machine itself is `advance`.
 *
 * Invariant: a rollout is one record. Whoever holds it knows all that was decided; everything else is seen anew.
 */
import type { Json } from '../base/index.ts'

/**
 * How the new release takes the place of the old one. rolling: one instance after another. blue-green: all new beside all
 * old, then every request at once. canary: likewise, but in growing shares, each judged before the next.
 */
export const strategies = ['rolling', 'blue-green', 'canary'] as const
export type Strategy = (typeof strategies)[number]

/**
 * What a deployment does to the schema. none: nothing. expand: both releases can work on what it makes, so that they run
 * side by side. stop: the old release cannot work on it and is stopped before.
 */
export type Migrates = 'none' | 'expand' | 'stop'

/** The steps of a deployment, in order. Not every deployment goes through all of them. */
export const deploySteps = [
  /** The migrations and the new release are tried on a copy of the data. */
  'rehearse',
  /** Only where it migrates with a stop: requests are held, and everything that writes is stopped. */
  'stop',
  'checkpoint',
  /** The first half of the migrations; all of them where the old release is stopped. */
  'expand',
  /** The new release is started, beside the old one. */
  'start',
  'shift',
  'watch',
  /** From here on it is not taken back by itself: the old release is stopped. Where second halves follow, a checkpoint is made. */
  'confirm',
  /** The second half of the migrations, once nothing of the old release runs. */
  'contract',
] as const

/** The steps of going back, by itself or because somebody asked. */
export const returnSteps = [
  /** A writable copy of the checkpoint is made. With code only: nothing. */
  'prepare',
  /** The commit point has been passed: everything stops, the data is exchanged, the old release starts. With code only: it starts. */
  'exchange',
  /** What was left behind is compared with what is there. The old release serves already. */
  'report',
] as const

/** Instead of the steps that are left: code only, the release that served is brought back. Its data was never exchanged. */
export const takeBackStep = 'take-back'

export type DeployStep = (typeof deploySteps)[number] | typeof takeBackStep
export type ReturnStep = (typeof returnSteps)[number] | typeof takeBackStep
export type Step = DeployStep | ReturnStep

/** How a rollout has ended. */
export type Outcome =
  /** The new release serves, and nothing of the old one is kept running. `left` is what could not be done, such as second halves. */
  | { readonly kind: 'confirmed'; readonly left: string | null }
  /** Nothing was touched. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** The old release serves again. */
  | { readonly kind: 'taken-back'; readonly reason: string }
  /** The data has to go back too: the return that `followUp` names is begun in the same transaction. */
  | { readonly kind: 'handed-over'; readonly reason: string }
  /** A return that somebody asked for is done. */
  | { readonly kind: 'returned' }
  /** It can go neither on nor back by itself; a person has to look. What serves is said in the reason. */
  | { readonly kind: 'stuck'; readonly reason: string }

/** A step that is over or under way. Times are milliseconds since 1970. */
export interface StepRecord {
  readonly step: Step
  readonly startMs: number
  /** Null while it is under way. */
  readonly endMs: number | null
  /** What was found or done, a line each. */
  readonly lines: readonly string[]
}

/** When the new release is taken back. Compared with the old one at the same time where both serve, else with what was before. */
export interface Judgement {
  /** Fewer requests than this say nothing. */
  readonly requestsMin: number
  /** Share of errors that the new release may have above the old one's, 0 to 1. */
  readonly errorsAboveMax: number
  /** How many times as slow its 99th percentile may be. */
  readonly slowerMax: number
}

/** What is asked of the node with the data. Ids are stable, so that asking again after a crash does nothing twice. */
export type Task =
  | { readonly kind: 'rehearse'; readonly id: string; readonly copy: string }
  | { readonly kind: 'checkpoint'; readonly id: string; readonly name: string }
  | { readonly kind: 'clone'; readonly id: string; readonly name: string; readonly from: string }
  | { readonly kind: 'report'; readonly id: string; readonly before: string; readonly after: string }

/** What became of a task. */
export type TaskState =
  | { readonly state: 'running' }
  | { readonly state: 'done'; readonly lines: readonly string[]; readonly result: Json }
  | { readonly state: 'failed'; readonly reason: string; readonly retry: 'never' | 'later' }

/** Whether parts of the app are as the shape asks. failed: one will not be, without a change. */
export type Progress =
  | { readonly state: 'pending'; readonly waitsFor: string | null }
  | { readonly state: 'done' }
  | { readonly state: 'failed'; readonly part: string; readonly reason: string }

/** Requests to the instances of a release since the step began (of the old one, where it gets none any more: before). */
export interface Sample {
  readonly requests: number
  readonly errors: number
  /** Over the last few seconds, so that a later look is a new look; null without requests. */
  readonly p99Ms: number | null
}

/** What is seen of the app now. Observed only, never kept. */
export interface Seen {
  /** Of the task that the rollout asks for now; null when it was not begun. */
  readonly task: TaskState | null
  /** Resources have the schema and the generation of the shape. */
  readonly resources: Progress
  /** The instances that the shape asks for are ready, in each release it names. */
  readonly instances: Progress
  /** Nothing runs that the shape does not ask for. */
  readonly rest: Progress
  /** Every gateway routes by the shape. */
  readonly routed: boolean
  readonly old: Sample | null
  readonly new: Sample | null
}

/** What the app is to be, as long as a step lasts. */
export interface Shape {
  /** Releases whose services run in full. None while everything is stopped. */
  readonly runs: 'old' | 'new' | 'both' | 'none'
  /** Share of the requests that go to the new release where both run, 0 to 100. */
  readonly newShare: number
  /** How far the schema is: as the old release has it, with the first halves, or all of the new one. */
  readonly schema: 'old' | 'expanded' | 'new'
  /** Requests wait at the gateways, for a limited time, instead of being refused. */
  readonly hold: boolean
  /** Whether the data is the one that was exchanged. Once true in a rollout, never false again. */
  readonly exchanged: boolean
}

/** What is the same for both kinds. */
interface Common {
  readonly id: string
  readonly app: string
  /** Who asked. */
  readonly by: string
  readonly startMs: number
  /** When the step began; that of `step` in `Deploy` and `Return`. */
  readonly stepMs: number
  readonly steps: readonly StepRecord[]
  /** Set once. */
  readonly outcome: Outcome | null
  /** Number of the release that served when it began; null at the very first. */
  readonly old: number | null
  /** Number of the release that it makes. */
  readonly new: number
  /** When a person asked to take it back: who. */
  readonly cancelledBy: string | null
  /** Why it is being taken back, code only: set with the step `take-back`. */
  readonly takingBack: string | null
}

export interface Deploy extends Common {
  readonly kind: 'deploy'
  readonly step: DeployStep
  readonly strategy: Strategy
  readonly migrates: Migrates
  /** Whether the app has data at all: without it there is no checkpoint. */
  readonly hasData: boolean
  /** Whether second halves are to run at the end. */
  readonly contracts: boolean
  readonly watchMs: number
  readonly judgement: Judgement
  /** Shares of the requests, growing, such as 10, 50, 100; of what is no canary only 100. */
  readonly shares: readonly number[]
  /** Which of the shares is in force. */
  readonly share: number
  /** The checkpoint of before; null before it is made. */
  readonly checkpoint: string | null
  /** Since when the new release has been slower than it may be, at every look; null: it is not. */
  readonly slowSinceMs: number | null
}

export interface Return extends Common {
  readonly kind: 'return'
  readonly step: ReturnStep
  readonly withData: boolean
  /** Why the platform goes back by itself; null: somebody asked for it. */
  readonly reason: string | null
  /** Everything is stopped already, as the deployment left it that this follows, and requests wait. */
  readonly stopped: boolean
  /** The release whose code comes back. `new` has its graph and bundles. */
  readonly target: number
  /** With data: the checkpoint it goes back to. */
  readonly checkpoint: string | null
  /** With data: what the live data is kept as. */
  readonly branch: string | null
}

export type Rollout = Deploy | Return
