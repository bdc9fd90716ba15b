/**
 * kill -9 of the whole platform, and of PostgreSQL, in every step of a deployment and of a return: after a restart it ends
 * in the old release or in the new one, never between, says which, and nothing that was acknowledged is missing from both
 * what is live and what was kept. The list of steps is walked completely: a step that was never met fails the test.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { isSteadError } from '../src/base/index.ts'
import { type OperatorClient, operatorClient, type ReleasesStatus, type ReleaseStatus } from '../src/operator/index.ts'
import { eventually } from './command-line.ts'
import { DaemonBench, type Role } from './daemon-bench.ts'
import { readNumbers, useLedger, writeNumbers } from './ledger-app.ts'
import { needsRoot } from './needs.ts'

/** What is done, and its steps. */
const walks = {
  'blue-green with halves': ['rehearse', 'checkpoint', 'expand', 'start', 'shift', 'watch', 'confirm', 'contract'],
  'with a stop': ['rehearse', 'stop', 'checkpoint', 'expand', 'start', 'watch'],
  'back with data': ['prepare', 'exchange', 'report'],
} as const
type Walk = keyof typeof walks

/** STEAD_WALK chooses walks, and STEAD_VICTIM who is killed, by a part of the name. */
const only = process.env['STEAD_WALK'] ?? ''
const onlyVictim = process.env['STEAD_VICTIM'] ?? ''
const victims = ['platform', 'postgres'] as const

/** Some steps last for a moment only: they are tried again until they were met. */
const triesMax = 6
const settleMs = 180_000

test(
  'killed in every step, it ends in the old release or the new one',
  { skip: needsRoot(), timeout: 3_600_000 },
  async (t) => {
    await using daemon = await DaemonBench.start()
    useLedger(daemon.bench)
    await daemon.deploy('ledger')
    let number = 1
    const missed: string[] = []
    for (const victim of victims.filter((name) => name.includes(onlyVictim))) {
      for (const walk of (Object.keys(walks) as Walk[]).filter((name) => name.includes(only))) {
        for (const step of walks[walk]) {
          let met = false
          for (let tries = 0; tries < triesMax && !met; tries += 1) {
            number += 1
            try {
              if (walk === 'back with data') await advanceByOne(daemon, number)
              else prepare(daemon, walk, number)
              met = await walked(daemon, walk, step, victim, t)
            } catch (error) {
              // What goes wrong in cleaning up would hide it.
              t.diagnostic(`${walk}, ${victim} killed in ${step}: ${String(error)}`)
              throw error
            }
          }
          if (!met) missed.push(`${walk}: ${step}, ${victim}`)
        }
      }
    }
    assert.deepEqual(missed, [], 'every step was met')
  },
)

/** Puts a new release with a migration into the directory. */
function prepare({ bench }: DaemonBench, walk: Walk, number: number): void {
  useLedger(bench, `release with migration ${number}`)
  const name = `migrations/${String(number).padStart(4, '0')}_step`
  const expand = `alter table ledger add column c${number} integer;\n`
  if (walk === 'with a stop') return bench.write({ [`${name}.sql`]: expand })
  bench.write({ [`${name}.expand.sql`]: expand, [`${name}.contract.sql`]: `update ledger set c${number} = 1;\n` })
}

/** A release more, so that there is one to go back from. */
async function advanceByOne(daemon: DaemonBench, number: number): Promise<void> {
  prepare(daemon, 'blue-green with halves', number)
  const result = await daemon.bench.stead('deploy', '.', '--watch', '0')
  assert.equal(result.code, 0, result.stderr)
}

/** All that goes to the new release at once is over in a moment: shares take longer. */
function strategyFor(walk: Walk, step: string): string {
  if (walk === 'with a stop') return 'rolling'
  return step === 'shift' ? 'canary' : 'blue-green'
}

/** Does it, kills in the step, and checks what has become of it. Answers whether the step was met. */
async function walked(
  daemon: DaemonBench,
  walk: Walk,
  step: string,
  victim: 'platform' | 'postgres',
  t: { diagnostic(text: string): void },
): Promise<boolean> {
  const before = await released(daemon)
  const load = writeNumbers(daemon.port, 1, Date.now())
  await pause(200)
  const words =
    walk === 'back with data'
      ? (['rollback', '--with-data', '--app', 'ledger'] as const)
      : (['deploy', '.', '--watch', '1s', '--strategy', strategyFor(walk, step)] as const)
  const running = daemon.bench.start(...words)
  const met = await inStep(daemon, before.releases.length, step)
  if (met) await kill(daemon, victim)
  const after = await eventually(
    `an end of ${walk}, killed in ${step}`,
    () => released(daemon),
    ({ releases }) =>
      releases.length > before.releases.length && releases.every(({ state }) => state !== 'rolling-out'),
    settleMs,
  )
  await daemon.ready('ledger', 'web')
  const { kept } = await load.stop()
  await running.stop('SIGTERM')
  const newest = after.releases.at(-1)
  assert.ok(newest !== undefined)
  const isNew = ['confirmed', 'returned', 'taken-back'].includes(newest.state) && after.live === newest.number
  assert.ok(isNew || after.live === before.live, `${walk}, ${step}: live ${after.live}, newest ${said(newest)}`)
  await eventually(
    'everything serves, of one release',
    () => daemon.parts('ledger'),
    (parts) => parts.length === 2 && parts.every(({ current, phase }) => current && phase === 'ready'),
    settleMs,
  )
  const missing = await missingNumbers(daemon, after, kept)
  assert.deepEqual(missing, [], `${walk}, killed in ${step}: acknowledged, and in no copy`)
  t.diagnostic(
    `${walk}, ${victim} killed in ${step}${met ? '' : ' (not met)'}: ${said(newest)}, ${kept.length} acknowledged`,
  )
  return met
}

function said({ number, state }: ReleaseStatus): string {
  return `release ${number} ${state}`
}

/** What was acknowledged and is neither live nor in what the last return has left. */
async function missingNumbers(
  daemon: DaemonBench,
  { releases }: ReleasesStatus,
  kept: readonly number[],
): Promise<number[]> {
  const read = (): Promise<readonly number[] | null> => readNumbers(daemon.port)
  const live = new Set(await eventually('the ledger can be read', read, (numbers) => numbers !== null))
  const lost = kept.filter((number) => !live.has(number))
  if (lost.length === 0) return []
  const left = releases.findLast(({ rollout }) => rollout?.kind === 'return' && rollout.branch !== null)?.rollout
  const branch = left?.kind === 'return' ? left.branch : null
  if (branch === null) return lost
  const replayed = await daemon.bench.stead('replay', branch, 'db', 'ledger', '--app', 'ledger')
  assert.equal(replayed.code, 0, replayed.stderr)
  const again = new Set(await read())
  return lost.filter((number) => !again.has(number))
}

async function inStep(daemon: DaemonBench, known: number, step: string): Promise<boolean> {
  for (const untilMs = Date.now() + 120_000; Date.now() < untilMs;) {
    const { releases } = await released(daemon)
    const newest = releases.length > known ? releases.at(-1) : undefined
    if (newest?.rollout?.step === step && newest.state === 'rolling-out') return true
    if (newest !== undefined && newest.state !== 'rolling-out') return false
    await pause(5)
  }
  return false
}

async function kill(daemon: DaemonBench, victim: 'platform' | 'postgres'): Promise<void> {
  if (victim === 'postgres') {
    const { parts } = await (await client(daemon)).status('ledger')
    const pid = parts.find(({ part }) => part === 'db')?.pid ?? null
    if (pid !== null) process.kill(pid, 'SIGKILL')
    return
  }
  for (const role of ['supervisor', 'control', 'agent', 'gateway'] as readonly Role[])
    process.kill(daemon.pidOf(role), 'SIGKILL')
  await daemon.serve()
}

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

/** What is known of the releases; asked again while the daemon comes back. */
async function released(daemon: DaemonBench): Promise<ReleasesStatus> {
  for (;;) {
    try {
      return await (await client(daemon)).releases.list('ledger')
    } catch (error) {
      if (!isSteadError(error)) throw error
      await pause(50)
    }
  }
}
