/** The driver with container runtimes of OCI against the conformance suite, with one user and with several; and what they must not leave. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { needsTool } from '../../test/image-tools.ts'
import { needsAll, needsRoot } from '../../test/needs.ts'
import { conform } from './fixtures/conform.ts'
import { variants } from './fixtures/drivers.ts'
import { hostLayer } from './layer.conformance.ts'

// Some give what they are handed to the program's user.
after(() => {
  const { uid, mode } = statSync('/dev/null')
  assert.deepEqual([uid, mode & 0o777], [0, 0o666], "the host's own /dev/null")
})

for (const name of ['runc', 'crun'] as const) {
  test(
    `${name}: what it is told of secrets is in no file that others see; of its groups nothing stays`,
    { skip: needsAll(needsRoot(), needsTool(name)) },
    async (context) => {
      const root = mkdtempSync(join(tmpdir(), 'stead-runtime-'))
      chmodSync(root, 0o711)
      context.after(() => rmSync(root, { recursive: true, force: true }))
      const layer = join(root, 'layer')
      mkdirSync(layer)
      hostLayer(layer)
      const driver = variants[name]?.() ?? assert.fail('there is such a driver')
      const secret = `secret-of-${name}-${process.pid}`
      const recordDir = join(root, 'record')
      const sandbox = await driver.start({
        id: `runtime-${name}-${process.pid}`,
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
        recordDir,
        outputBytesMax: 2 ** 20,
      })
      const { stdout } = spawnSync('grep', ['-rlF', '--devices=skip', secret, '/run', root], { encoding: 'utf8' })
      assert.equal(stdout, '')
      await sandbox.kill()
      await driver.remove(recordDir)
      const groups = readdirSync('/sys/fs/cgroup').map((place) => `/sys/fs/cgroup/${place}/stead-runtime/${sandbox.id}`)
      assert.deepEqual(
        groups.filter((path) => existsSync(path)),
        [],
      )
    },
  )
  conform(name, 'one user')
  conform(name, 'several users')
}
