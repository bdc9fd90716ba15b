/**
 * kill -9 of the whole platform, and of PostgreSQL, in every step of a deployment and of a return: after a restart it ends
 * in the old release or in the new one, never between, says which, and nothing that was acknowledged is missing from both
 * what is live and what was kept. The list of steps is walked completely: a step that was never met fails the test.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { DaemonBench } from './daemon-bench.ts'
import { useLedger, writeNumbers } from './ledger-app.ts'
import { needsRoot } from './needs.ts'
import { kill, missingNumbers, newestOf, releasesOf, said, settled, type Victim } from './release-rig.ts'

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
const victims: readonly Victim[] = ['platform', 'postgres']

/** Some steps last for a moment only: they are tried again until they were met. */
const triesMax = 6

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
  victim: Victim,
  t: { diagnostic(text: string): void },
): Promise<boolean> {
  const before = await releasesOf(daemon)
  await using load = writeNumbers(daemon.port, 1, Date.now())
  await pause(200)
  const words =
    walk === 'back with data'
      ? (['rollback', '--with-data', '--app', 'ledger'] as const)
      : (['deploy', '.', '--watch', '1s', '--strategy', strategyFor(walk, step)] as const)
  const running = daemon.bench.start(...words)
  const met = await inStep(daemon, newestOf(before), step)
  if (met) await kill(daemon, victim)
  const after = await settled(daemon, `${walk}, killed in ${step}`, newestOf(before) + 1)
  const { kept } = await load.stop()
  await running.stop('SIGTERM')
  const newest = after.releases.at(-1)
  assert.ok(newest !== undefined)
  const isNew = ['confirmed', 'returned', 'taken-back'].includes(newest.state) && after.live === newest.number
  assert.ok(isNew || after.live === before.live, `${walk}, ${step}: live ${after.live}, newest ${said(newest)}`)
  const missing = await missingNumbers(daemon, after, kept)
  assert.deepEqual(missing, [], `${walk}, killed in ${step}: acknowledged, and in no copy`)
  t.diagnostic(
    `${walk}, ${victim} killed in ${step}${met ? '' : ' (not met)'}: ${said(newest)}, ${kept.length} acknowledged`,
  )
  return met
}

async function inStep(daemon: DaemonBench, known: number, step: string): Promise<boolean> {
  for (const untilMs = Date.now() + 120_000; Date.now() < untilMs;) {
    const { releases } = await releasesOf(daemon)
    const newest = releases.findLast(({ number }) => number > known)
    if (newest?.rollout?.step === step && newest.state === 'rolling-out') return true
    if (newest !== undefined && newest.state !== 'rolling-out') return false
    await pause(5)
  }
  return false
}
