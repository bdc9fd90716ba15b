/** What instances use, from what is said of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PartStatus, Status } from '../operator/index.ts'
import { Loads, ordered } from './load.ts'

function part(instance: string, pid: number, cpuSeconds: number | null, memoryBytes: number): PartStatus {
  return {
    part: 'web',
    kind: 'service',
    instance,
    current: true,
    phase: 'ready',
    reason: null,
    restarts: 0,
    stoppedBy: null,
    pid,
    sinceMs: 0,
    memoryBytes,
    cpuSeconds,
    refused: [],
  }
}

function status(parts: readonly PartStatus[]): Status {
  const rates = { requests: 9, errors: 1, p50Ms: 1 }
  return {
    app: 'shop',
    release: 1,
    wanted: true,
    urls: [],
    pid: 1,
    parts,
    faults: [],
    traffic: [
      { from: null, to: 'web', requestsPerSecond: 5, errorsPerSecond: 1, p99Ms: 4, ...rates },
      { from: 'mail', to: 'web', requestsPerSecond: 2, errorsPerSecond: 0, p99Ms: 9, ...rates },
      { from: 'web', to: 'db', requestsPerSecond: 100, errorsPerSecond: 0, p99Ms: 1, ...rates },
    ],
    disks: [],
    weaker: [],
    drivers: { sandbox: '', network: '', domain: '' },
  }
}

test('processor time becomes cores once it was seen to move, and not over a restart', () => {
  const loads = new Loads()
  const seen = (pid: number, seconds: number, nowMs: number): number | null | undefined =>
    loads.of(status([part('web.1', pid, seconds, 1)]), nowMs)[0]?.cores
  assert.equal(seen(1, 10, 0), null)
  assert.equal(seen(1, 10, 1000), null, 'it may only not have been looked at')
  assert.equal(seen(1, 13, 3000), 1)
  assert.equal(seen(1, 13, 4000), 1, 'as it was last seen')
  assert.equal(seen(1, 13, 9000), 0, 'it stands still')
  assert.equal(seen(2, 1, 10_000), null)
  assert.equal(loads.of(status([part('web.1', 1, null, 1)]), 0)[0]?.cores, null)
})

test('requests are those of all edges to the part; the order is by what is asked for', () => {
  const [first] = new Loads().of(status([part('web.1', 1, 1, 1)]), 0)
  assert.deepEqual([first?.requestsPerSecond, first?.errorsPerSecond, first?.p99Ms], [7, 1, 9])
  const both = new Loads().of(status([part('web.1', 1, 1, 10), part('web.2', 2, 1, 20)]), 0)
  const names = (by: 'memory' | 'name' | 'cpu'): (string | null)[] => ordered(both, by).map(({ instance }) => instance)
  assert.deepEqual(names('memory'), ['web.2', 'web.1'])
  assert.deepEqual(names('name'), ['web.1', 'web.2'])
  assert.deepEqual(names('cpu'), ['web.1', 'web.2'], 'who is not known stays in place')
})
