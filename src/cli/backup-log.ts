/**
 * The logs of an app's databases at a place with backups: carried there between two backups, and followed from a backup that is
 * brought back to a moment after it.
 *
 * Invariant: a log goes on from one backup, and is followed from no other: after a return positions come again, and mean
 * something else.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Backup, Backups, CarriedLog } from '../backup/index.ts'
import { type Clock, isSteadError, randomId, SteadError, systemRandom } from '../base/index.ts'
import type { DataAnswers } from '../protocol/index.ts'
import type { RestoreWish } from '../operator/index.ts'
import { bringBack, elsewhere, giveTo, ownersOf } from './backups.ts'
import type { Target } from './target.ts'

/** Backups that are tried for a moment that has no time. */
const basesMax = 5
/** How often a log is brought that is replaced meanwhile. */
const logTriesMax = 5

/**
 * Carries the logs as they are now. `carried`: by part, up to which position they were carried the last time; what has not moved
 * is not carried again. Answers the same as it is now.
 */
export async function carryLogs(
  { operator, app }: Target,
  backups: Backups,
  after: string,
  carried: ReadonlyMap<string, string>,
  clock: Clock,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  // What is acknowledged before this is in it; what comes meanwhile may be.
  const atMs = clock.nowMs()
  const logs = await operator.releases.layOutLogs(app)
  for (const { part, dir, position } of logs) {
    if (!existsSync(dir)) throw elsewhere(app)
    if (carried.get(part) === position) continue
    await backups.carryLog(dir, { app, part, after, position, atMs }, signal)
  }
  return new Map(logs.map(({ part, position }) => [part, position]))
}

/** Whether a log was carried to the place after a backup. */
export async function hasLog(backups: Backups, { app, id }: Backup): Promise<boolean> {
  return (await backups.logs()).some((log) => log.app === app && log.after === id)
}

/** The backups that a moment may be reached from, the likeliest first. `all`: those of one app, oldest first. */
export function basesFor(all: readonly Backup[], target: RestoreWish['target']): readonly Backup[] {
  const newestFirst = all.toReversed()
  if (target.kind === 'end') return newestFirst.slice(0, 1)
  return target.kind === 'time'
    ? newestFirst.filter(({ atMs }) => atMs <= target.timeMs).slice(0, 1)
    : newestFirst.slice(0, basesMax)
}

/**
 * Brings the first of the backups that leads there forward to a moment along the log that was carried after it, as a checkpoint of the
 * app. The live data is not touched. Throws `cli.no-log`, and as the node does for the last backup that was tried.
 */
export async function bringBackAt(
  target: Target,
  backups: Backups,
  bases: readonly Backup[],
  wish: Pick<RestoreWish, 'copy' | 'target' | 'confirmed'>,
): Promise<DataAnswers['forward'] & { readonly backup: string }> {
  const { operator, app } = target
  const logs = await backups.logs()
  let last: unknown = noLog(app, wish, null)
  for (const base of bases) {
    const own = logs.filter((log) => log.app === app && log.after === base.id)
    const untilMs = Math.min(...own.map(({ atMs }) => atMs))
    const isLater = wish.target.kind === 'time' && wish.target.timeMs > untilMs
    if (own.length === 0 || isLater) {
      last = noLog(app, wish, own.length === 0 ? null : untilMs)
      continue
    }
    const name = `along-${randomId(systemRandom)}`
    const [from, log] = [`${name}-base`, `${name}-log`]
    try {
      await bringBack(target, backups, base, from)
      await bringNewestLogs(target, backups, base, log)
      return { ...(await operator.releases.restoreAt(app, { ...wish, from, log })), backup: base.id }
    } catch (error) {
      // What the place refuses, it refuses for all of them.
      if (!isSteadError(error) || error.code.startsWith('backup.')) throw error
      last = error
    } finally {
      await operator.releases.deleteCopies(app, [from, log])
    }
  }
  throw last
}

/** The logs that were carried after a backup, as they are by then: while one is brought a newer one may take its place. */
async function bringNewestLogs(target: Target, backups: Backups, base: Backup, name: string): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    const logs = (await backups.logs()).filter((log) => log.app === target.app && log.after === base.id)
    try {
      return await bringLogs(target, backups, logs, name)
    } catch (error) {
      const replaced = isSteadError(error) && error.code === 'backup.unknown-backup'
      if (!replaced || tries === logTriesMax) throw error
      await target.operator.releases.deleteCopies(target.app, [name])
    }
  }
}

async function bringLogs(
  { operator, app }: Target,
  backups: Backups,
  logs: readonly CarriedLog[],
  name: string,
): Promise<void> {
  const copy = await operator.releases.spareCopy(app, name)
  if (!existsSync(copy.path)) throw elsewhere(app)
  const owners = ownersOf(copy.path)
  for (const part of readdirSync(copy.path)) rmSync(join(copy.path, part), { recursive: true })
  for (const { id, part } of logs) {
    mkdirSync(join(copy.path, part), { mode: 0o700 })
    await backups.restoreLog(id, join(copy.path, part, 'log'))
  }
  giveTo(copy.path, owners)
}

function noLog(app: string, { target }: Pick<RestoreWish, 'target'>, untilMs: number | null): SteadError {
  const moment = target.kind === 'time' ? new Date(target.timeMs).toISOString() : Object.values(target).at(-1)
  return new SteadError({
    code: 'cli.no-log',
    message:
      untilMs === null
        ? `no backup of ${app} there has a log that leads to ${moment}`
        : `the log of ${app} there goes up to ${new Date(untilMs).toISOString()}, and not to ${moment}`,
    hint: 'Logs are carried for an app that declares `backup` in its file. `stead backup ls` shows the backups; --id takes one as it is.',
  })
}
