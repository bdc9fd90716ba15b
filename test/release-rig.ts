/** Releases on a real daemon, for tests that break it: what is known of them, who is killed, and what was lost. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { isSteadError } from '../src/base/index.ts'
import { type OperatorClient, operatorClient, type ReleasesStatus, type ReleaseStatus } from '../src/operator/index.ts'
import { eventually } from './command-line.ts'
import { type DaemonBench, isAlive, type Role } from './daemon-bench.ts'
import { readNumbers } from './ledger-app.ts'

/** Longest time in which a rollout comes to its end and everything serves again, after a process was killed. */
export const settleMs = 180_000

/** Who is killed. */
export type Victim = 'platform' | 'postgres'

/** Asks the daemon; waits until it answers. */
async function client(daemon: DaemonBench): Promise<OperatorClient> {
  const path = join(daemon.bench.env['STEAD_RUN'] ?? '', 'serve', 'operator.sock')
  const found = await eventually(
    'the daemon answers',
    () => operatorClient(path).catch(() => null),
    (it) => it !== null,
  )
  assert.ok(found !== null)
  return found
}

/** What is known of the releases of the ledger; asked again while the daemon comes back. */
export async function releasesOf(daemon: DaemonBench): Promise<ReleasesStatus> {
  for (;;) {
    try {
      return await (await client(daemon)).releases.list('ledger')
    } catch (error) {
      if (!isSteadError(error)) throw error
      await pause(50)
    }
  }
}

/** Kills -9, and starts the daemon again where it was killed. */
export async function kill(daemon: DaemonBench, victim: Victim): Promise<void> {
  if (victim === 'postgres') {
    const { parts } = await (await client(daemon)).status('ledger')
    const pid = parts.find(({ part }) => part === 'db')?.pid ?? null
    // One that a rollout has just stopped is still told of: then nobody dies of this.
    if (pid !== null && isAlive(pid)) process.kill(pid, 'SIGKILL')
    return
  }
  for (const role of ['supervisor', 'control', 'agent', 'gateway'] as readonly Role[])
    process.kill(daemon.pidOf(role), 'SIGKILL')
  // An app with a bad release on its way is not well, and that is waited for elsewhere.
  await daemon.serve([0, 4])
}

/** The number of the newest release; the oldest of very many are forgotten, so that their count says nothing. */
export function newestOf({ releases }: ReleasesStatus): number {
  return releases.at(-1)?.number ?? 0
}

/** Waits until no rollout is under way and everything serves, of one release. `known`: the release that there must be at least. */
export async function settled(daemon: DaemonBench, what: string, known: number): Promise<ReleasesStatus> {
  const isOver = (status: ReleasesStatus): boolean =>
    newestOf(status) >= known && status.releases.every(({ state }) => state !== 'rolling-out')
  let after = await releasesOf(daemon)
  for (const untilMs = Date.now() + settleMs; !isOver(after); after = await releasesOf(daemon)) {
    if (Date.now() > untilMs) assert.fail(`no end of ${what} within ${settleMs} ms: ${await story(daemon, after)}`)
    await pause(50)
  }
  await eventually(
    `everything serves, of one release, after ${what}`,
    () => daemon.parts('ledger'),
    (parts) => parts.length === 2 && parts.every(({ current, phase }) => current && phase === 'ready'),
    settleMs,
  )
  return after
}

/** How things stand with a rollout that comes to no end. */
async function story(daemon: DaemonBench, { releases, live }: ReleasesStatus): Promise<string> {
  const newest = releases.at(-1)
  const { step, steps } = newest?.rollout ?? {}
  const { stdout, stderr } = await daemon.bench.stead('status', 'ledger', '--json')
  const output = daemon.output().slice(-6000)
  return [
    `live ${live}, ${newest === undefined ? 'no release' : said(newest)} in ${step ?? 'no step'}: ${JSON.stringify(steps)}`,
    stdout,
    stderr,
    output,
  ].join('\n')
}

/** All numbers that the app has. */
export async function liveNumbers(daemon: DaemonBench): Promise<ReadonlySet<number>> {
  const read = (): Promise<readonly number[] | null> => readNumbers(daemon.port)
  return new Set(await eventually('the ledger can be read', read, (numbers) => numbers !== null))
}

/** What was acknowledged and is neither live nor in what the last return has left, from where it is taken over. */
export async function missingNumbers(
  daemon: DaemonBench,
  { releases }: ReleasesStatus,
  kept: Iterable<number>,
): Promise<number[]> {
  const live = await liveNumbers(daemon)
  const lost = [...kept].filter((number) => !live.has(number))
  if (lost.length === 0) return []
  const left = releases.findLast(({ rollout }) => rollout?.kind === 'return' && rollout.branch !== null)?.rollout
  const branch = left?.kind === 'return' ? left.branch : null
  if (branch === null) return lost
  const replayed = await daemon.bench.stead('replay', branch, 'db', 'ledger', '--app', 'ledger')
  assert.equal(replayed.code, 0, replayed.stderr)
  const again = await liveNumbers(daemon)
  return lost.filter((number) => !again.has(number))
}

/** As `release 3 confirmed`. */
export function said({ number, state }: ReleaseStatus): string {
  return `release ${number} ${state}`
}
