/**
 * kill -9 of any process of the daemon at a hundred random moments, under load that writes: nothing acknowledged is lost,
 * every request is answered or cleanly refused, instances and database are the same processes as before, and nothing is
 * left over. The seed is printed; STEAD_SEED and STEAD_KILLS repeat a run.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { eventually } from './command-line.ts'
import { DaemonBench } from './daemon-bench.ts'
import { readNumbers, useLedger, writeNumbers } from './ledger-app.ts'
import { needsRoot } from './needs.ts'
import { grown, inventory } from './inventory.ts'

const kills = Number(process.env['STEAD_KILLS'] ?? 100)
const seed = Number(process.env['STEAD_SEED'] ?? Date.now() % 1_000_000)
/** Longest pause between two kills, milliseconds. */
const pauseMaxMs = 400

/** A small generator of the Lehmer kind: the same seed gives the same kills. */
function randomFrom(start: number): () => number {
  let state = (start % 2_147_483_646) + 1
  return () => {
    state = (state * 48_271) % 2_147_483_647
    return state / 2_147_483_647
  }
}

test(`kill -9 at ${kills} random moments`, { skip: needsRoot(), timeout: 1_800_000 }, async (t) => {
  t.diagnostic(`seed ${seed}`)
  const random = randomFrom(seed)
  await using daemon = await DaemonBench.start()
  useLedger(daemon.bench)
  await daemon.deploy('ledger')
  const web = await daemon.ready('ledger', 'web')
  const db = await daemon.ready('ledger', 'db')
  const before = inventory(daemon.bench)
  const writing = writeNumbers(daemon.port, 4)
  const roles = ['control', 'agent', 'gateway', 'supervisor'] as const
  for (let count = 0; count < kills; count += 1) {
    const role = roles[Math.floor(random() * roles.length)] ?? 'agent'
    await daemon.kill(role, role === 'supervisor' ? () => daemon.serve() : undefined)
    await pause(random() * pauseMaxMs)
  }
  await daemon.ready('ledger', 'web')
  const { kept, answers } = await writing.stop()
  t.diagnostic(`answers ${JSON.stringify(Object.fromEntries(answers))}`)
  const numbers = await eventually(
    'the ledger can be read',
    () => readNumbers(daemon.port),
    (read) => read !== null,
  )
  const known = new Set(numbers)
  assert.deepEqual(
    kept.filter((number) => !known.has(number)),
    [],
    'nothing acknowledged is lost',
  )
  assert.ok(kept.length > kills, `something was acknowledged meanwhile: ${kept.length}`)
  // Answered, refused by the app or the gateway with a status, or cut by the end of the gateway that had begun it.
  const allowed = new Set(['201', '502', '503', '504', 'ECONNRESET', 'EPIPE'])
  assert.deepEqual(
    [...answers.keys()].filter((answer) => !allowed.has(answer)),
    [],
  )
  assert.equal((await daemon.ready('ledger', 'web')).pid, web.pid, 'the service was never restarted')
  assert.equal((await daemon.ready('ledger', 'db')).pid, db.pid, 'the database was never restarted')
  const settled = async (): Promise<string[]> => grown(before, inventory(daemon.bench))
  await eventually('nothing is left over', settled, (more) => more.length === 0, 120_000)
})
