/** How secrets are handed over: by descriptor, or by a directory in memory for what takes new ones as it runs. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Edge, InstanceAssignment } from '../protocol/index.ts'
import type { Sandbox, SandboxCapabilities, Support } from '../sandbox/index.ts'
import { secretProvider } from '../secrets/index.ts'
import { Delivery } from './delivery.ts'
import { layoutOf } from './layout.ts'
import { MemoryFiles } from './memory-files.ts'

const id = 'shop.web.1'

function edgeOf(part: string, password: string | null, version: number): Edge {
  const grant = password === null ? null : { consumer: 'web', user: 'web', password, version }
  return {
    as: part,
    part,
    type: 'secret',
    config: null,
    address: '',
    port: 0,
    resource: `shop.${part}`,
    grant,
    targets: [],
  }
}

function assignmentOf(
  onSecretChange: InstanceAssignment['onSecretChange'],
  ...edges: readonly Edge[]
): InstanceAssignment {
  const limits = { memoryBytes: 1e8, cpuCores: 1, pidsMax: 64 }
  const ready = { kind: 'started', timeoutMs: 1000 } as const
  const what = {
    kind: 'service',
    id,
    app: 'shop',
    part: 'web',
    bundle: '',
    run: ['x'],
    env: {},
    limits,
    http: null,
  } as const
  return { ...what, ready, hostUid: 1_900_000_001, edges, wanted: true, timeoutMs: null, onSecretChange }
}

function place(
  isolation: Support,
  outputFilter: Support = 'native',
): Disposable & {
  readonly delivery: Delivery
  readonly memory: MemoryFiles
  readonly layout: ReturnType<typeof layoutOf>
} {
  const dir = mkdtempSync(join(tmpdir(), 'stead-delivery-'))
  const memory = new MemoryFiles(dir)
  const others = 'native' as const
  const capabilities: SandboxCapabilities = {
    isolation,
    outputFilter,
    ownNetwork: others,
    memoryLimit: others,
    cpuLimit: others,
    bestEffortCpu: others,
    deadlineCpu: others,
    fifoCpu: others,
    devices: others,
    pidsLimit: others,
    tmpLimit: others,
    freeze: others,
    syscallFilter: others,
    root: 'refused',
    users: 'refused',
    exec: 'refused',
    ownKernel: 'refused',
    console: 'refused',
    debugStub: 'refused',
    disk: 'refused',
    snapshot: 'refused',
    survivesSupervisor: others,
    weaker: [],
  }
  const driver = { capabilities } as Parameters<typeof layoutOf>[0]
  return {
    delivery: new Delivery(memory, new Map([['secret', secretProvider()]]), capabilities),
    memory,
    layout: layoutOf(driver, { path: '/bundle' }, '/records'),
    [Symbol.dispose]() {
      memory.remove(id)
      memory.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

const filesIn = (dir: string) => [
  { path: `${dir}/key`, content: 'first-value', mode: 0o400 },
  { path: '/etc/hosts', content: '', mode: 0o444 },
]

test('what is replaced for a new version gets its secrets by descriptor, and its output is filtered', () => {
  using at = place('native')
  const assignment = assignmentOf('restart', edgeOf('key', 'first-value', 1))
  const dir = at.delivery.dirFor(assignment, at.layout)
  const { files, mounts, filterFile } = at.delivery.prepare(assignment, filesIn(dir), dir)
  assert.deepEqual([dir, files, mounts], ['/run/secrets', filesIn(dir), []])
  assert.ok(readFileSync(filterFile ?? '', 'utf8').includes(Buffer.from('first-value').toString('hex')))
})

test('what has no secrets has no filter; where there is none, none is asked for', () => {
  using at = place('native')
  assert.equal(at.delivery.prepare(assignmentOf('restart'), [], '/run/secrets').filterFile, undefined)
  assert.equal(
    at.delivery.prepare(assignmentOf('restart', edgeOf('key', null, 0)), [], '/run/secrets').filterFile,
    undefined,
  )
  using without = place('native', 'refused')
  const assignment = assignmentOf('restart', edgeOf('key', 'first-value', 1))
  assert.equal(without.delivery.prepare(assignment, [], '/run/secrets').filterFile, undefined)
})

test('what takes new ones as it runs has a directory in memory, in place of files', () => {
  using at = place('native')
  const assignment = assignmentOf('watch', edgeOf('key', 'first-value', 1))
  const dir = at.delivery.dirFor(assignment, at.layout)
  const { files, mounts } = at.delivery.prepare(assignment, filesIn(dir), dir)
  assert.deepEqual(
    files.map(({ path }) => path),
    ['/etc/hosts'],
  )
  assert.deepEqual(mounts, [{ source: at.memory.secretsDir(id), target: '/run/secrets', access: 'read-only' }])
  assert.equal(readFileSync(join(at.memory.secretsDir(id), 'key'), 'utf8'), 'first-value')
  // Without isolation it is where it is on the host.
  using plain = place('refused')
  assert.equal(plain.delivery.dirFor(assignment, plain.layout), plain.memory.secretsDir(id))
  assert.deepEqual(plain.delivery.prepare(assignment, [], plain.memory.secretsDir(id)).mounts, [])
})

test('a new version is filtered, then put in place, then told by signal, once', () => {
  using at = place('native')
  const signals: string[] = []
  const sandbox = { signal: (signal: string) => void signals.push(`${signal} ${readKey()}`) } as unknown as Sandbox
  const readKey = (): string => readFileSync(join(at.memory.secretsDir(id), 'key'), 'utf8')
  const version = (number: number): InstanceAssignment =>
    assignmentOf('SIGHUP', edgeOf('key', number === 1 ? 'first-value' : 'second-value', number))
  at.delivery.prepare(version(1), [], '/run/secrets')
  assert.equal(at.delivery.renew(version(2), sandbox), true)
  assert.equal(at.delivery.renew(version(2), sandbox), true)
  assert.deepEqual(signals, ['SIGHUP second-value'])
  const texts = readFileSync(at.memory.textsPath(id), 'utf8')
  for (const value of ['first-value', 'second-value'])
    assert.ok(texts.includes(Buffer.from(value).toString('hex')), value)
  assert.equal(at.delivery.renew(assignmentOf('watch', edgeOf('key', 'third-value', 3)), sandbox), true)
  assert.deepEqual([signals.length, readKey()], [1, 'third-value'])
  assert.equal(at.delivery.renew(assignmentOf('restart', edgeOf('key', 'fourth-value', 4)), sandbox), false)
  assert.equal(readKey(), 'third-value')
})
