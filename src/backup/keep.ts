/**
 * Which backups are kept. Invariant: the newest of each app and the newest that a drill has proved are never given away,
 * whatever the rule says.
 */
import type { Backup } from './backups.ts'
import type { Drills } from './drill.ts'

export interface Keep {
  /** So many of each app, the newest. */
  readonly count: number
  /** And all that are younger. */
  readonly withinMs: number
}

/** Ids of the backups that may be forgotten. `drillsOf` answers what is known of the proofs of an app. */
export function planForget(
  backups: readonly Backup[],
  keep: Keep,
  drillsOf: (app: string) => Drills,
  nowMs: number,
): readonly string[] {
  return [...Map.groupBy(backups, ({ app }) => app)].flatMap(([app, own]) => {
    const sorted = own.toSorted((a, b) => b.atMs - a.atMs)
    const good = new Set(
      drillsOf(app)
        .proofs.filter(({ failure }) => failure === null)
        .map(({ backup }) => backup),
    )
    const proved = sorted.find(({ id }) => good.has(id))
    return sorted
      .slice(Math.max(keep.count, 1))
      .filter((backup) => backup !== proved && backup.atMs < nowMs - keep.withinMs)
      .map(({ id }) => id)
  })
}
