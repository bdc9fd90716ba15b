/** The plans of limit groups: what is made and written for each version, and for limits that are not asked for. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { controllersV1, numberIn, planV1, planV2 } from './cgroup.ts'

const place = { root: '/cg', parent: 'stead' }
const limits = { memoryBytes: 1000, cpuCores: 0.5, pidsMax: 7 }
const none = { memoryBytes: null, cpuCores: null, pidsMax: null }

test('version 1: a directory in every hierarchy', () => {
  const plan = planV1(place, 'web', limits, controllersV1)
  assert.deepEqual(
    plan.directories,
    controllersV1.map((controller) => `/cg/${controller}/stead/web`),
  )
  assert.deepEqual(
    plan.writes.map(({ path, value }) => `${path} ${value}`),
    [
      '/cg/memory/stead/web/memory.limit_in_bytes 1000',
      '/cg/memory/stead/web/memory.memsw.limit_in_bytes 1000',
      '/cg/cpu/stead/web/cpu.cfs_period_us 100000',
      '/cg/cpu/stead/web/cpu.cfs_quota_us 50000',
      '/cg/pids/stead/web/pids.max 7',
    ],
  )
  assert.deepEqual(planV1(place, 'web', none, controllersV1).writes, [])
})

test('version 2: controllers are handed down first', () => {
  const plan = planV2(place, 'web', { ...limits, cpuCores: 0.001 })
  assert.deepEqual(plan.directories, ['/cg/stead', '/cg/stead/web'])
  assert.deepEqual(
    plan.writes.map(({ path, value }) => `${path} ${value}`),
    [
      '/cg/cgroup.subtree_control +memory +pids +cpu',
      '/cg/stead/cgroup.subtree_control +memory +pids +cpu',
      '/cg/stead/web/memory.max 1000',
      '/cg/stead/web/memory.swap.max 0',
      '/cg/stead/web/cpu.max 1000 100000',
      '/cg/stead/web/pids.max 7',
    ],
    'a quota is never below what the kernel takes',
  )
  assert.equal(planV2(place, 'web', none).writes.length, 2)
})

test('a number is found by its whole name', () => {
  assert.equal(numberIn('oom 1\noom_kill 2\noom_group_kill 3\n', 'oom_kill'), 2)
  assert.equal(numberIn('', 'max'), 0)
})
