/** The driver with container runtimes of OCI against the conformance suite, with one user and with several; and what they must not leave. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, globSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test, type TestContext } from 'node:test'
import { systemClock } from '../base/index.ts'
import { needsTool, toolCommand } from '../../test/image-tools.ts'
import { needsAll, needsRoot } from '../../test/needs.ts'
import type { LimitGroup, LimitGroups } from './cgroup.ts'
import type { SandboxSpec } from './driver.ts'
import { detectLimitGroups } from './drivers/cgroups.ts'
import { ociRuntimeDriver } from './drivers/oci-runtime.ts'
import { conform } from './fixtures/conform.ts'
import { variants } from './fixtures/drivers.ts'
import { hostLayer } from './layer.conformance.ts'

const failuresWanted = 10

// Some give what they are handed to the program's user.
after(() => {
  const { uid, mode } = statSync('/dev/null')
  assert.deepEqual([uid, mode & 0o777], [0, 0o666], "the host's own /dev/null")
})

/** A program in a root of its own, in a directory that is gone with the test. */
function specIn(context: TestContext, id: string, secret: string): SandboxSpec {
  const root = mkdtempSync(join(tmpdir(), 'stead-runtime-'))
  chmodSync(root, 0o711)
  context.after(() => rmSync(root, { recursive: true, force: true }))
  const layer = join(root, 'layer')
  mkdirSync(layer)
  hostLayer(layer)
  return {
    id,
    argv: ['sh', '-c', 'exec sleep 60'],
    env: { PATH: '/usr/bin', TOKEN: secret },
    cwd: '/tmp',
    mounts: [],
    files: [{ path: '/run/secret', content: secret, mode: 0o400 }],
    root: { layers: [layer], writable: false },
    hostUid: 231_076,
    limits: { memoryBytes: null, cpuCores: null, pidsMax: null, tmpBytes: null },
    syscalls: 'strict',
    network: null,
    recordDir: join(root, 'record'),
    outputBytesMax: 2 ** 20,
  }
}

/** Groups that nothing can be put into, so that a start fails when its container is there already. */
function closed(groups: LimitGroups): LimitGroups {
  const closedGroup = (group: LimitGroup): LimitGroup => ({
    join: () => Promise.reject(new Error('this group is closed')),
    reserve: (cpu, pid) => group.reserve(cpu, pid),
    usage: () => group.usage(),
    evidence: () => group.evidence(),
    freeze: () => group.freeze(),
    thaw: () => group.thaw(),
    kill: () => group.kill(),
    remove: () => group.remove(),
  })
  return {
    version: groups.version,
    holds: groups.holds,
    cpu: groups.cpu,
    warm: () => groups.warm(),
    make: (name, limits) => closedGroup(groups.make(name, limits)),
    open: (name) => closedGroup(groups.open(name)),
  }
}

/** What is left in /sys/fs/cgroup of containers whose ids begin so. */
function groupsLeft(start: string): readonly string[] {
  return globSync([`/sys/fs/cgroup/stead-runtime/${start}*`, `/sys/fs/cgroup/*/stead-runtime/${start}*`])
}

for (const name of ['runc', 'crun'] as const) {
  const skip = needsAll(needsRoot(), needsTool(name))

  test(
    `${name}: what it is told of secrets is in no file that others see; of its groups nothing stays`,
    { skip },
    async (context) => {
      const driver = variants[name]?.() ?? assert.fail('there is such a driver')
      const secret = `secret-of-${name}-${process.pid}`
      const spec = specIn(context, `runtime-${name}-${process.pid}`, secret)
      const sandbox = await driver.start(spec)
      const { stdout } = spawnSync('grep', ['-rlF', '--devices=skip', secret, '/run', join(spec.recordDir, '..')], {
        encoding: 'utf8',
      })
      assert.equal(stdout, '')
      await sandbox.kill()
      await driver.remove(spec.recordDir)
      assert.deepEqual(groupsLeft(spec.id), [])
    },
  )

  test(`${name}: of a start that fails when its container is made, nothing stays`, { skip }, async (context) => {
    const groups = detectLimitGroups(systemClock, 'stead-test')
    if (groups === null) return context.skip('needs limit groups')
    const driver = ociRuntimeDriver({
      runtime: name,
      clock: systemClock,
      groups: closed(groups),
      command: toolCommand(name),
    })
    const start = `failed-${name}-${process.pid}`
    const spec = specIn(context, start, 'no secret')
    for (let count = 0; count < failuresWanted; count++) {
      const failing = { ...spec, id: `${start}-${count}` }
      await assert.rejects(driver.start(failing), /this group is closed/)
      assert.ok(!existsSync(spec.recordDir))
      assert.deepEqual(groupsLeft(start), [])
    }
  })

  conform(name, 'one user')
  conform(name, 'several users')
}
