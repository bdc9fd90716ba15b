/** Systems on disks: what stands in the graph, that it is read back, and what is refused. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { app, describeDiff, diffGraphs, parseGraph, service, toGraph } from './index.ts'
import type { Graph, ServiceOptions, WithSystem } from './index.ts'

const local = { name: 'local', production: false } as const

function graphOf(options: ServiceOptions & WithSystem): Graph {
  return toGraph(
    app('x', () => ({ parts: { ledger: service('ledger', options) } })),
    local,
  )
}

test('a system stands in the graph with its disk as its state, and is read back', async () => {
  const graph = graphOf({
    vm: {
      disk: './guest/disk.qcow2',
      seed: { 'user-data': '#cloud-config\n' },
      kernel: { image: 'guest/vmlinuz', initrd: './guest/initrd.img' },
    },
    tcp: 5432,
    limits: { memory: '512MiB', cpus: 2 },
  })
  const [part, state] = graph.parts
  assert.ok(part?.kind === 'service')
  assert.deepEqual(part.vm, {
    disk: 'guest/disk.qcow2',
    seed: { 'user-data': '#cloud-config\n' },
    kernel: { image: 'guest/vmlinuz', initrd: 'guest/initrd.img', commandLine: 'root=/dev/vda1 console=ttyS0' },
  })
  assert.deepEqual([part.run, part.isolation], [[], 'kernel'])
  assert.deepEqual(part.ready, { kind: 'tcp', port: 5432, timeoutMs: 300_000 })
  assert.deepEqual(part.uses, [{ as: 'state', part: 'ledger-disk' }])
  assert.ok(state?.kind === 'resource')
  assert.deepEqual([state.name, state.type], ['ledger-disk', 'state'])
  assert.deepEqual(await parseGraph(JSON.parse(JSON.stringify(graph))), graph)
})

test('another disk is a change of its part', () => {
  const [before, after] = ['one.qcow2', 'two.qcow2'].map((disk) => graphOf({ vm: { disk } }))
  assert.ok(before !== undefined && after !== undefined)
  assert.match(describeDiff(diffGraphs(before, after)).join('\n'), /vm\.disk.*one\.qcow2.*two\.qcow2/)
})

test('what makes no sense is refused by its option', () => {
  const disk = './disk.qcow2'
  const refused: readonly (readonly [object, RegExp])[] = [
    [{ vm: './disk.qcow2' }, /: vm must be/],
    [{ vm: {} }, /vm\.disk must be a file/],
    [{ vm: { disk: '/srv/disk.qcow2' } }, /vm\.disk must be/],
    [{ vm: { disk: '../disk.qcow2' } }, /vm\.disk must be/],
    [{ vm: { disk: './' } }, /vm\.disk must be/],
    [{ vm: { disk }, run: ['node'] }, /: run must be absent/],
    [{ vm: { disk }, image: 'oci:x' }, /: image must be absent/],
    [{ vm: { disk }, from: './web' }, /: from must be absent/],
    [{ vm: { disk }, state: {} }, /: state must be absent/],
    [{ vm: { disk }, isolation: 'sandbox' }, /: isolation must be/],
    [{ vm: { disk }, onSecretChange: 'watch' }, /: onSecretChange must be/],
    [{ vm: { disk }, limits: { processes: 3 } }, /: limits\.processes must be/],
    [{ vm: { disk }, ready: { command: ['true'] } }, /: ready\.command must be/],
    [{ vm: { disk }, replicas: 2 }, /: replicas must be 1/],
    [{ vm: { disk, seed: { env: 'A=1' } } }, /a name in vm\.seed must be/],
    [{ vm: { disk, seed: { 'user-data': 'x'.repeat(16_001) } } }, /vm\.seed\.user-data must be/],
    [{ vm: { disk, kernel: {} } }, /vm\.kernel\.image must be/],
    [{ vm: { disk, kernel: { image: './vmlinuz', commandLine: 'a\nb' } } }, /vm\.kernel\.commandLine must be/],
  ]
  for (const [options, message] of refused)
    // Some of it does not compile; a file in JavaScript can say it all the same.
    assert.throws(() => service('ledger', options as ServiceOptions & WithSystem), {
      code: 'model.bad-option',
      message,
    })
  assert.throws(() => service('ledger', { vm: { disk, size: '4GB' } } as ServiceOptions & WithSystem), {
    code: 'model.unknown-option',
  })
})

test('a graph whose system lacks something is refused', async () => {
  const graph = graphOf({ vm: { disk: './disk.qcow2' } })
  const damaged = (change: object): unknown => ({
    ...graph,
    parts: graph.parts.map((part) => (part.name === 'ledger' ? { ...part, ...change } : part)),
  })
  for (const change of [{ run: ['sh'] }, { image: { from: 'oci:x' } }, { isolation: undefined }, { uses: [] }])
    await assert.rejects(
      parseGraph(JSON.parse(JSON.stringify(damaged(change)))),
      /model\.bad|system on a disk|belongs to/,
    )
})
