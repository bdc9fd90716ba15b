/**
 * The daemon over time, with churn: releases, killed instances and restarted processes, under load. After a warm-up nothing
 * grows: memory, descriptors, processes, mounts, namespaces, limit groups, users. STEAD_SOAK_MINUTES shortens a run.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { eventually } from './command-line.ts'
import { DaemonBench, type Role } from './daemon-bench.ts'
import { grown, holds, inventory } from './inventory.ts'
import { useLedger, writeNumbers } from './ledger-app.ts'
import { needsRoot } from './needs.ts'

const minutes = Number(process.env['STEAD_SOAK_MINUTES'] ?? 30)
/** One round: a release, a kill, some seconds of load. */
const roundMs = 5000
const warmUpRounds = 10
/** What a process may hold more than after the warm-up: a heap breathes. */
const growthMax = 1.3
const growthBytes = 15 * 1024 * 1024
const growthDescriptors = 10

type Held = ReturnType<typeof holds> | undefined

const roles: readonly Role[] = ['supervisor', 'control', 'agent', 'gateway']

test(
  `nothing grows in ${minutes} minutes of churn`,
  { skip: needsRoot(), timeout: minutes * 60_000 + 600_000 },
  async (t) => {
    await using daemon = await DaemonBench.start()
    useLedger(daemon.bench)
    await daemon.deploy('ledger')
    const untilMs = performance.now() + minutes * 60_000
    let next = 1
    let before: ReturnType<typeof look> | null = null
    for (let round = 0; round <= warmUpRounds || performance.now() < untilMs; round += 1) {
      const writing = writeNumbers(daemon.port, 2, next)
      useLedger(daemon.bench, `round ${round}`)
      await daemon.deploy('ledger')
      const { pid } = await daemon.ready('ledger', 'web')
      assert.ok(pid !== null)
      process.kill(pid, 'SIGKILL')
      await daemon.ready('ledger', 'web')
      await pause(roundMs)
      const { kept, last } = await writing.stop()
      next = last + 1
      assert.ok(kept.length > 0, 'it serves')
      if (round % 10 === 0) t.diagnostic(`round ${round}: ${JSON.stringify(look(daemon))}`)
      if (round === warmUpRounds) before = look(daemon)
    }
    const after = look(daemon)
    t.diagnostic(`at the end: ${JSON.stringify(after)}`)
    assert.ok(before !== null)
    const held = before.holds
    // What ends with a release may still be ending.
    const settled = async (): Promise<string[]> => grown(held, inventory(daemon.bench))
    await eventually('it holds no more of the machine', settled, (more) => more.length === 0, 60_000)
    for (const role of roles) {
      const was: Held = before.processes[role]
      const is: Held = after.processes[role]
      assert.ok(was !== undefined && is !== undefined)
      const bytesMax = Math.max(was.pssBytes * growthMax, was.pssBytes + growthBytes)
      assert.ok(is.pssBytes <= bytesMax, `${role} holds ${is.pssBytes} bytes, after the warm-up it was ${was.pssBytes}`)
      assert.ok(
        is.descriptors <= was.descriptors + growthDescriptors,
        `${role}: ${was.descriptors} -> ${is.descriptors} descriptors`,
      )
    }
  },
)

function look(daemon: DaemonBench): {
  holds: Readonly<Record<string, number>>
  processes: Partial<Record<Role, ReturnType<typeof holds>>>
} {
  const processes: Partial<Record<Role, ReturnType<typeof holds>>> = {}
  for (const role of roles) processes[role] = holds(daemon.pidOf(role))
  return { holds: inventory(daemon.bench), processes }
}
