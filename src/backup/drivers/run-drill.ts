/**
 * A drill: the backup is read at the target, restored into a directory of its own, and proved there by whoever knows what it
 * is. Invariant: a drill leaves nothing behind, however it ends, not even the one before that was cut off.
 */
import { existsSync } from 'node:fs'
import { type Clock, SteadError, isSteadError, messageOf } from '../../base/index.ts'
import type { Backup, Backups } from '../backups.ts'
import type { Proof } from '../drill.ts'
import { emptyOut, removeTree } from './trees.ts'

export interface DrillOptions {
  readonly backups: Pick<Backups, 'restore' | 'verify'>
  readonly backup: Backup
  /** Where it is restored: emptied before and after, and taken away again if it was not there. Two drills must not share it. */
  readonly dir: string
  /** Likewise for what travels with the data. */
  readonly extraDir: string
  /**
   * What is read: everything at the target, so that damage to older backups is found too, or what this backup consists of,
   * where reading costs money.
   */
  readonly read: 'everything' | 'restored'
  /** Starts the real programs on the restored data (`dir`, which may be written to) and asks them. Throws when it is not so. */
  readonly prove: (restored: {
    readonly dir: string
    /** What travelled with the data; null when nothing did. */
    readonly extraDir: string | null
  }) => Promise<{ readonly checks: readonly string[] }>
  readonly clock: Clock
  readonly signal?: AbortSignal
}

/** What says nothing about the backup: trying again later is all there is to do. */
const undecided = ['backup.busy', 'backup.no-tool', 'backup.no-room', 'backup.key-missing']

/**
 * Runs a drill. A backup that cannot be read, restored or proved gives a proof with a failure; throws only what says nothing
 * about the backup (`backup.busy`, `backup.no-room`, or the reason of the signal).
 */
export async function runDrill(options: DrillOptions): Promise<Proof> {
  const { backups, backup, dir, extraDir, read, prove, clock, signal } = options
  const startMs = clock.monotonicMs()
  const found = [dir, extraDir].filter((path) => existsSync(path))
  const proof = (checks: readonly string[], failure: string | null): Proof => ({
    backup: backup.id,
    app: backup.app,
    atMs: backup.atMs,
    endedMs: clock.nowMs(),
    tookMs: clock.monotonicMs() - startMs,
    checks,
    failure,
  })
  try {
    if (read === 'everything') {
      const { problems } = await backups.verify('data', signal)
      if (problems.length > 0) return proof([], `what lies at the target is damaged: ${problems.join('; ')}`)
    }
    await backups.restore(backup.id, dir, { extraTo: extraDir, replace: true, fresh: true, signal })
    const { checks } = await prove({ dir, extraDir: backup.extra ? extraDir : null })
    return proof([`${backup.files} files restored`, ...checks], null)
  } catch (cause) {
    if (signal?.aborted === true || (isSteadError(cause) && undecided.includes(cause.code))) throw cause
    return proof([], sentenceOf(cause))
  } finally {
    for (const path of [dir, extraDir]) await (found.includes(path) ? emptyOut(path) : removeTree(path))
  }
}

function sentenceOf(cause: unknown): string {
  return (cause instanceof SteadError ? cause.message : messageOf(cause)).replace(/\.$/, '').slice(0, 500)
}
