/**
 * From what the platform says of releases to what a page shows, pure. Invariant: nothing of a part's environment or
 * credentials is in it but the names of what has changed.
 */
import { describeDiff, diffGraphs, type Graph } from '../model/index.ts'
import type { ReleasesStatus, ReleaseStatus } from '../operator/index.ts'
import { reportOf, returnSteps, type Report, type Rollout, shapeOf, type Step, stepsOf } from '../release/index.ts'
import type { ReleasesNews, ReleaseView, RolloutView } from './release-wire.ts'

/** The views of an app's releases; one whose release is as it was is the same object as before. */
export class ReleaseViews {
  #known = new Map<number, { readonly of: readonly unknown[]; readonly view: ReleaseView }>()

  /** Views of all, oldest first. */
  of(status: ReleasesStatus): readonly ReleaseView[] {
    const views = status.releases.map((release) => {
      const before = beforeOf(status, release)
      const of = [release.graph, release.rollout, release.report, release.schemas, release.state, release.live, before]
      const known = this.#known.get(release.number)
      const same = known !== undefined && known.of.every((one, index) => Object.is(one, of[index]))
      return { of, view: same ? known.view : viewOf(status.app, release, before) }
    })
    this.#known = new Map(views.map((one) => [one.view.number, one]))
    return views.map(({ view }) => view)
  }
}

/** What a page is told that has those views of releases. */
export function newsOf(
  status: ReleasesStatus,
  before: ReadonlyMap<number, ReleaseView>,
  views: readonly ReleaseView[],
  nowMs: number,
): ReleasesNews {
  const { live, generation, checkpoints, branches, counted } = status
  const there = new Set(views.map(({ number }) => number))
  return {
    type: 'releases',
    nowMs,
    live,
    generation,
    put: views.filter((view) => before.get(view.number) !== view),
    drop: [...before.keys()].filter((number) => !there.has(number)),
    checkpoints: checkpoints.map(({ name, release, generation: of, createdAtMs, by, before: since }) => {
      return { name, release, generation: of, createdAtMs, by, before: since }
    }),
    branches,
    counted,
  }
}

/** The release that served when this one was made; where that is gone, the one that was made before it. */
function beforeOf({ releases }: ReleasesStatus, { number, rollout }: ReleaseStatus): ReleaseStatus | null {
  const old = rollout?.old ?? null
  const earlier = releases.filter((one) => one.number < number)
  return earlier.find((one) => one.number === old) ?? earlier.at(-1) ?? null
}

function viewOf(app: string, release: ReleaseStatus, before: ReleaseStatus | null): ReleaseView {
  const { number, state, live, backTo, createdAtMs, by, generation, secrets, schemas, graph, rollout } = release
  return {
    number,
    state,
    live,
    backTo,
    createdAtMs,
    by,
    generation,
    before: before?.number ?? null,
    changes: before === null ? [] : [...changesOf(before.graph, graph), ...filesOf(before, release)],
    secrets,
    schemas,
    rollout: rollout === null ? null : rolloutView(rollout),
    report: reportView(app, release),
  }
}

/** Of the environment, which settings are others, and not what they are. */
function changesOf(before: Graph, after: Graph): readonly string[] {
  const changes = diffGraphs(before, after).map((change) =>
    change.kind === 'part-changed'
      ? { ...change, fields: change.fields.map((field) => (field.path[0] === 'env' ? { path: field.path } : field)) }
      : change,
  )
  return describeDiff(changes)
}

/** Parts whose files are others: the code of a program, what a resource is prepared with. */
function filesOf(before: ReleaseStatus, { graph, bundles }: ReleaseStatus): readonly string[] {
  return graph.parts
    .filter(({ name }) => name in before.bundles && before.bundles[name] !== bundles[name])
    .map((part) =>
      part.kind === 'resource' ? `~ ${part.type} '${part.name}': its files` : `~ ${part.kind} '${part.name}': its code`,
    )
}

function rolloutView(rollout: Rollout): RolloutView {
  const { kind, old, startMs, steps, outcome, checkpoint, takingBack } = rollout
  const { runs, newShare, hold } = shapeOf(rollout)
  const deploy = kind === 'deploy' ? rollout : null
  return {
    kind,
    strategy: deploy?.strategy ?? null,
    migrates: deploy?.migrates ?? null,
    old,
    withData: kind === 'return' && rollout.withData,
    startMs,
    endMs: outcome === null ? null : (steps.at(-1)?.endMs ?? rollout.stepMs),
    steps,
    toCome: toCome(rollout),
    shape: outcome === null ? { runs, newShare, hold } : null,
    checkpoint,
    takingBack: takingBack !== null || rollout.cancelledBy !== null,
    dataGoesToo: deploy?.migrates === 'stop' && steps.some(({ step }) => step === 'expand'),
    reason: reasonOf(rollout),
  }
}

function reasonOf(rollout: Rollout): string | null {
  const { outcome } = rollout
  if (outcome === null) return rollout.takingBack
  if (outcome.kind === 'confirmed') return outcome.left
  if (outcome.kind === 'returned') return rollout.kind === 'return' ? rollout.reason : null
  return outcome.reason
}

function toCome(rollout: Rollout): readonly Step[] {
  if (rollout.outcome !== null || rollout.takingBack !== null) return []
  const deployment: readonly Step[] = rollout.kind === 'deploy' ? stepsOf(rollout) : []
  const course: readonly Step[] =
    rollout.kind === 'deploy' ? deployment : rollout.withData ? returnSteps : returnSteps.slice(0, 2)
  return course.slice(course.indexOf(rollout.step) + 1)
}

/** What a return left behind, if this release is one and that was compared. */
function reportView(app: string, { rollout, report, graph }: ReleaseStatus): Report | null {
  if (rollout?.kind !== 'return' || report === null) return null
  const external = graph.parts.flatMap((part) => (part.kind === 'resource' && isHosted(part.config) ? [part.name] : []))
  return reportOf({
    app,
    from: rollout.old ?? 0,
    to: rollout.target,
    reason: rollout.reason,
    checkpoint: report.before,
    branch: report.after,
    compared: report,
    external,
  })
}

/** Whether somebody else runs a resource: its data is not the platform's to take back. */
function isHosted(config: unknown): boolean {
  return typeof config === 'object' && config !== null && 'hosted' in config
}
