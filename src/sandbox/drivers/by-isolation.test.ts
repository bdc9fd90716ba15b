/** Which driver a program goes to, by what it asks for, and which finds it again. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { SteadError, systemClock } from '../../base/index.ts'
import type { SandboxDriver, SandboxSpec } from '../driver.ts'
import { byIsolation } from './by-isolation.ts'
import { processDriver } from './process.ts'

test('what wants a container never runs without one; what was missing is asked for again', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'stead-by-'))
  const common = processDriver({ clock: systemClock, groups: null })
  const missing = new SteadError({ code: 'sandbox.unavailable', message: 'There is no server.' })
  let asked = 0
  // The second time it is there; what it gives is refused by a driver that has no containers, as it must be.
  const container = (): Promise<SandboxDriver> => (++asked === 1 ? Promise.reject(missing) : Promise.resolve(common))
  const unasked = (): never => assert.fail('nobody asked for it')
  const driver = byIsolation(common, { kernel: unasked, container, foundContainer: unasked })
  const spec: SandboxSpec = {
    id: `by-${process.pid}`,
    argv: ['true'],
    env: { PATH: '/usr/bin:/bin' },
    cwd: '/',
    mounts: [],
    files: [],
    hostUid: 231_081,
    limits: { memoryBytes: null, cpuCores: null, pidsMax: null, tmpBytes: null },
    syscalls: 'none',
    network: null,
    recordDir: join(dir, 'records'),
    outputBytesMax: 2 ** 20,
    isolation: 'container',
  }
  try {
    await assert.rejects(driver.start(spec), missing)
    await assert.rejects(driver.start(spec), { code: 'sandbox.refused', message: /a container of an Incus server/ })
    await assert.rejects(driver.start(spec), { code: 'sandbox.refused' })
    assert.equal(asked, 2, 'what was made is kept')
    assert.ok(!existsSync(spec.recordDir))
    assert.equal(await driver.adopt(spec.recordDir), null)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})
