/** Answers what is asked about releases, from control's book. Invariant: a release's state follows from its rollout alone. */
import type { Control, KeptRelease, ReleaseBook } from '../control/index.ts'
import type { Deployment, ReleaseOperations, ReleasesStatus, ReleaseState, ReleaseStatus } from '../operator/index.ts'
import { judgementDefault } from '../release/index.ts'

/** How long a release is watched before it is confirmed, unless somebody said otherwise. */
const watchMsDefault = 15_000

/** What a deployment asks for, with what is usual where it says nothing. */
export function rolloutOf({ rollout = {} }: Deployment, by: string): Parameters<Control['releases']['deploy']>[1] {
  const { strategy = 'rolling', watchMs = watchMsDefault, judgement = judgementDefault, shares, lockMsMax } = rollout
  return {
    by,
    strategy,
    watchMs,
    judgement,
    ...(shares === undefined ? {} : { shares }),
    ...(lockMsMax === undefined ? {} : { lockMsMax }),
  }
}

/** `urlsOf`: where an app is reached. */
export function releaseOperations(
  releases: Control['releases'],
  home: string,
  urlsOf: (app: string) => readonly string[],
): ReleaseOperations {
  return {
    async plan(deployment) {
      const { graph, bundles } = deployment
      const { number, lines, due, direct } = await releases.plan({ graph, bundles, home }, rolloutOf(deployment, ''))
      return { number, lines, migrates: due.migrates, direct }
    },
    list: (app) => statusOf(releases.book(app), urlsOf),
    data: (app, sizes) => releases.data(app, sizes),
    back: (app, wish, by) => releases.back({ app, by, ...wish }),
    preview: (app, wish) => releases.preview({ app, by: '', ...wish }),
    cancel: (app, by) => releases.cancel(app, by),
    async checkpoint(app, name, by) {
      const { tookMs } = await releases.checkpoint(app, name, by)
      return { tookMs }
    },
    spareCopy: (app, name) => releases.spareCopy(app, name),
    verify: (app, copy, probes) => releases.verify(app, copy, probes),
    layOutLogs: (app) => releases.layOutLogs(app),
    adopt: (app, adoption, by) => releases.adopt(app, { ...adoption, by }),
    restoreAt: (app, wish, by) => releases.restoreAt(app, wish, by),
    deleteCopies: (app, names) => releases.deleteCopies(app, names),
    branch: (app, name, from, purpose, by) => releases.branch(app, name, { from, by, purpose }),
    removeBranch: (app, name) => releases.removeBranch(app, name),
    replay: (app, wish) => releases.replay(app, wish),
  }
}

function statusOf(book: ReleaseBook, urlsOf: (app: string) => readonly string[]): ReleasesStatus {
  const { app, live, generation, checkpoints } = book
  return {
    app,
    live,
    generation,
    releases: book.releases.map((release) => releaseStatus(release, live)),
    checkpoints: checkpoints.map(({ name, release, generation: of, createdAtMs, by, before, schema }) => {
      return { name, release, generation: of, createdAtMs, by, before, schema }
    }),
    counted: book.counted,
    branches: book.branches.map(({ app: own, branch: { purpose, by, from = null } }) => {
      return { name: own.slice(app.length + 2), app: own, purpose, by, from, urls: urlsOf(own) }
    }),
  }
}

function releaseStatus(release: KeptRelease, live: number): ReleaseStatus {
  const { number, graph, bundles, secrets, backTo, createdAtMs, by, generation, schemas, rollout, report } = release
  const common = { number, graph, bundles, secrets, backTo, createdAtMs, by, generation, schemas, rollout, report }
  return { ...common, live: number === live, state: stateOf(release) }
}

function stateOf({ rollout }: KeptRelease): ReleaseState {
  if (rollout === null) return 'confirmed'
  return rollout.outcome?.kind ?? 'rolling-out'
}
