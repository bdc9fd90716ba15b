/** The XFS driver: the conformance suite in a disk image, and that a copy shares its blocks. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { statfsSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { systemClock } from '../../base/index.ts'
import { needsAll, needsFile, needsFileSystem, needsRoot } from '../../../test/needs.ts'
import { domainConformance } from '../conformance.ts'
import { type DomainConformance, code, withPlace } from '../place.conformance.ts'
import { xfsDriver } from './xfs.ts'

const skip = needsAll(
  needsRoot(),
  needsFile('/usr/sbin/mkfs.xfs', 'apt-get install xfsprogs'),
  needsFile('/dev/loop-control', 'loop devices in the kernel'),
  needsFileSystem('xfs'),
)
const given: DomainConformance = {
  driver: xfsDriver({ clock: systemClock }),
  load: { module: new URL('xfs.ts', import.meta.url).href, name: 'xfsDriver', options: {} },
  sizeBytes: 330_000_000,
  skip,
}

domainConformance(given)

suite('xfs image', { skip }, () => {
  test('a copy takes no room until it is written to', () =>
    withPlace(given, async ({ open }) => {
      const domain = await open()
      writeFileSync(join(domain.path, 'data'), Buffer.alloc(60_000_000, 1))
      execFileSync('sync', ['-f', domain.path])
      const free = (): number => {
        const { bavail, bsize } = statfsSync(domain.path)
        return bavail * bsize
      }
      const beforeBytes = free()
      for (const name of ['first', 'second', 'third']) await domain.checkpoint(name)
      assert.ok(beforeBytes - free() < 20_000_000, `${beforeBytes - free()} bytes were taken`)
      assert.equal(await domain.ownBytes('first'), null)
      await assert.rejects(domain.ownBytes('never'), code('domain.unknown-copy'))
    }))

  test('all its blocks are reserved, it is too small below 300 MB, and it grows', () =>
    withPlace(given, async ({ options, open }) => {
      await assert.rejects(given.driver.open({ ...options, sizeBytes: 200_000_000 }), code('domain.too-small'))
      const domain = await open()
      assert.ok(statSync(join(options.root, 'image')).blocks * 512 >= given.sizeBytes - 4096)
      const { totalBytes } = await domain.usage()
      await domain.close()
      const larger = await given.driver.open({ ...options, sizeBytes: 400_000_000 })
      assert.ok((await larger.usage()).totalBytes > totalBytes + 40_000_000)
      await larger.close()
    }))
})
