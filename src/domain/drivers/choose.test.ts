/** The choice of a driver: the strongest that runs here, the one that made a domain where there is one, and reasons. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../base/index.ts'
import { chooseDomainDriver, missingForBtrfs, missingForXfs } from './choose.ts'
import { copyDriver } from './copy.ts'

test('btrfs is chosen where nothing is missing for it, then xfs, and what is missing is named', async () => {
  const root = mkdtempSync(join(tmpdir(), 'domain-choose-'))
  try {
    const missing = await missingForBtrfs(root)
    const driver = await chooseDomainDriver({ root, clock: systemClock })
    const next = (await missingForXfs(root)).length === 0 ? 'xfs' : 'copy'
    assert.equal(driver.name, missing.length === 0 ? 'btrfs' : next)
    for (const line of missing) assert.ok(driver.capabilities.weaker.includes(line))
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
})

test('a driver that is asked for is taken for what is new, or refused with what is missing', async () => {
  const root = mkdtempSync(join(tmpdir(), 'domain-choose-'))
  try {
    const missing = { btrfs: await missingForBtrfs(root), xfs: await missingForXfs(root) }
    for (const asked of ['btrfs', 'xfs'] as const) {
      const chosen = chooseDomainDriver({ root, clock: systemClock, asked })
      if (missing[asked].length === 0) assert.equal((await chosen).name, asked)
      else await assert.rejects(chosen, { code: 'domain.driver-unavailable', message: /cannot be kept with/ })
    }
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
})

test('a domain stays with the driver that made it', async () => {
  const work = mkdtempSync(join(tmpdir(), 'domain-choose-'))
  const root = join(work, 'shop')
  try {
    const copy = copyDriver({ clock: systemClock })
    const options = { id: 'shop', root, home: 'here', sizeBytes: 1 }
    await (await copy.open(options)).close()
    const chosen = await chooseDomainDriver({ root, clock: systemClock, asked: 'btrfs' })
    assert.equal(chosen.name, 'copy')
    assert.ok(chosen.capabilities.weaker.length > copy.capabilities.weaker.length, 'it says why')
    await (await chosen.open(options)).close()
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
})
