/** Which of several drivers a program goes to, by what it asks for, and which finds it again. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { SteadError, systemClock } from '../../base/index.ts'
import type { SandboxDriver, SandboxSpec } from '../driver.ts'
import { joinDrivers } from './joined.ts'
import type { OtherDriver } from './joined.ts'
import { processDriver } from './process.ts'
import { readRecord, writeRecord } from './records.ts'

const dir = mkdtempSync(join(tmpdir(), 'stead-joined-'))
after(() => rmSync(dir, { recursive: true, force: true }))

const common = processDriver({ clock: systemClock, groups: null })
const missing = new SteadError({ code: 'sandbox.unavailable', message: 'There is no server.' })

function specOf(name: string): SandboxSpec {
  return {
    id: `${name}-${process.pid}`,
    argv: ['echo', 'done'],
    env: { PATH: '/usr/bin:/bin' },
    cwd: '/',
    mounts: [],
    files: [],
    hostUid: 231_081,
    limits: { memoryBytes: null, cpuCores: null, pidsMax: null, tmpBytes: null },
    syscalls: 'none',
    network: null,
    recordDir: join(dir, name),
    outputBytesMax: 2 ** 20,
  }
}

function container(make: OtherDriver['make']): OtherDriver {
  return { wanted: ({ isolation }) => isolation === 'container', make }
}

test('what wants a container never runs without one; what was missing is asked for again', async () => {
  let asked = 0
  // The second time it is there; what it gives is refused by a driver that has no containers, as it must be.
  const make = (): Promise<SandboxDriver> => (++asked === 1 ? Promise.reject(missing) : Promise.resolve(common))
  const unasked: OtherDriver = { wanted: () => false, make: () => assert.fail('nobody asked for it') }
  const driver = joinDrivers(common, { runc: unasked, incus: container(make) })
  const spec: SandboxSpec = { ...specOf('wanted'), isolation: 'container' }
  await assert.rejects(driver.start(spec), missing)
  await assert.rejects(driver.start(spec), { code: 'sandbox.refused', message: /a container of an Incus server/ })
  await assert.rejects(driver.start(spec), { code: 'sandbox.refused' })
  assert.equal(asked, 2, 'what was made is kept')
  assert.ok(!existsSync(spec.recordDir))
  assert.equal(await driver.adopt(spec.recordDir), null)
})

test('a record is for the driver that made it; its lines are read also where that cannot be had any more', async () => {
  const spec = specOf('record')
  const sandbox = await common.start(spec)
  await sandbox.exited
  const record = readRecord(spec.recordDir) ?? assert.fail('it was recorded')
  const linesOf = async (driver: SandboxDriver): Promise<readonly string[]> =>
    (await Array.fromAsync(driver.output(spec.recordDir))).map(({ text }) => text)

  // Of no other: the common one made it.
  const unasked = container(() => assert.fail('nobody asked for it'))
  assert.equal((await joinDrivers(common, { incus: unasked }).adopt(spec.recordDir))?.id, spec.id)

  writeRecord(spec.recordDir, { ...record, driver: 'incus' })
  const lost = container(() => Promise.reject(missing))
  await assert.rejects(joinDrivers(common, { incus: lost }).adopt(spec.recordDir), missing)
  assert.deepEqual(await linesOf(joinDrivers(common, { incus: lost })), ['done'])
  await assert.rejects(joinDrivers(common, { incus: lost }).remove(spec.recordDir), missing)

  // It goes to the one that finds what that made, which says whose it is; asked directly, the common one does too.
  const found = { ...lost, makeFinder: () => common }
  await assert.rejects(joinDrivers(common, { incus: found }).adopt(spec.recordDir), { code: 'sandbox.other-driver' })
  await joinDrivers(common, { incus: found }).remove(spec.recordDir)
  assert.ok(!existsSync(spec.recordDir))
})
