/** What both drivers have in common beneath the conformance suite: the record on disk, and what crashes leave behind. */
import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { systemClock } from '../../base/index.ts'
import { needsAll, needsFile, needsFileSystem, needsRoot } from '../../../test/needs.ts'
import { decodeCatalog } from '../catalog.ts'
import { type DomainConformance, code, get, names, put, withPlace } from '../place.conformance.ts'
import { btrfsDriver } from './btrfs.ts'
import { copyDriver } from './copy.ts'

const load = { module: '', name: '', options: {} }
const needsBtrfs = needsAll(
  needsRoot(),
  needsFile('/usr/sbin/mkfs.btrfs', 'apt-get install btrfs-progs'),
  needsFile('/dev/loop-control', 'loop devices in the kernel'),
  needsFileSystem('btrfs'),
)
const drivers: readonly DomainConformance[] = [
  { driver: copyDriver({ clock: systemClock }), load, sizeBytes: 1, skip: false },
  { driver: btrfsDriver({ clock: systemClock }), load, sizeBytes: 300_000_000, skip: needsBtrfs },
]

for (const given of drivers) {
  suite(`records of the driver ${given.driver.name}`, { skip: given.skip }, () => {
    test('a record that is newer, damaged or lost is said to be, and the data is not touched', () =>
      withPlace(given, async ({ options, open }) => {
        const domain = await open()
        await put(domain.path, 'data', 'one')
        await domain.checkpoint('first')
        await domain.close()
        const record = join(options.root, 'domain.json')
        const good = await readFile(record, 'utf8')
        const catalog = decodeCatalog(good, record)
        const cases: readonly [string, string][] = [
          [JSON.stringify({ ...catalog, version: catalog.version + 1, more: true }), 'domain.newer-version'],
          [good.slice(0, -20), 'domain.corrupt'],
          ['', 'domain.corrupt'],
          [JSON.stringify({ ...catalog, live: 7, nextTree: 8 }), 'domain.corrupt'],
          [JSON.stringify({ ...catalog, live: 2 }), 'domain.corrupt'],
          [JSON.stringify({ ...catalog, driver: 'other' }), 'domain.other-driver'],
        ]
        for (const [text, expected] of cases) {
          await writeFile(record, text)
          await assert.rejects(given.driver.open(options), code(expected))
        }
        await rm(record)
        await assert.rejects(given.driver.open(options), code('domain.corrupt'))
        await writeFile(record, good)
        const again = await open()
        assert.equal(await get(again.path, 'data'), 'one')
        assert.deepEqual(names(await again.list()), ['checkpoint first'])
      }))

    test('a root that cannot be made is one sentence', () =>
      withPlace(given, async ({ options }) => {
        await assert.rejects(given.driver.open({ ...options, root: '/dev/null/domain' }), code('domain.tool-failed'))
      }))

    test('trees that no record names are removed by the next open, what else lies there is not', () =>
      withPlace(given, async ({ options, open }) => {
        const domain = await open()
        await domain.checkpoint('first')
        const trees = join(options.root, 'trees')
        const record = join(options.root, 'domain.json')
        const before = await readFile(record, 'utf8')
        await domain.clone('half-made', 'first')
        await domain.close()
        await writeFile(record, before) // as if the process had died just before it was replaced
        const again = await open()
        mkdirSync(join(trees, '9/data'), { recursive: true })
        writeFileSync(join(trees, '9/data/half'), 'copied')
        writeFileSync(join(trees, 'note'), 'not ours')
        await again.close()
        const third = await open()
        assert.deepEqual(readdirSync(trees).sort(), ['1', '2', 'note'])
        assert.deepEqual(names(await third.list()), ['checkpoint first'])
        await third.clone('half-made', 'first')
      }))
  })
}
