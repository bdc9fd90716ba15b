/** Contents that are large or many: one with more names than the file system allows, and a file that is held in no memory whole. */
import assert from 'node:assert/strict'
import { linkSync, mkdirSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock, systemCodeOf } from '../base/index.ts'
import { bundleLimits } from './bundle.ts'
import { FilePool } from './pool.ts'
import { inspectFile } from './scan.ts'
import { type BundleStore, createBundleStore } from './store.ts'
import { temporaryDirectory, writeTree } from './support.test.ts'

const namesMax = 70_000

test('place: a content that has all the names it can have is copied', async (context) => {
  const directory = temporaryDirectory(context)
  const pool = new FilePool(join(directory, 'files'))
  await pool.open()
  const source = join(writeTree(join(directory, 'from'), { empty: '' }), 'empty')
  await using staging = await pool.stage()
  const sha256 = await staging.add(await inspectFile(source, 'empty'))
  await staging.publish()
  const content = { sha256, executable: false }
  mkdirSync(join(directory, 'names'))
  if (!runsOutOfNames(pool.pathOf(content), join(directory, 'names'))) {
    return context.skip(`this file system allows more than ${namesMax} names for a file`)
  }
  const target = join(directory, 'target')
  await pool.place(content, target)
  const info = statSync(target)
  assert.equal(info.nlink, 1)
  assert.equal(info.mode & 0o777, 0o444)
  assert.equal(info.mtimeMs, statSync(pool.pathOf(content)).mtimeMs)
})

function runsOutOfNames(path: string, directory: string): boolean {
  try {
    for (let count = 0; count < namesMax; count++) linkSync(path, join(directory, String(count)))
    return false
  } catch (error) {
    assert.equal(systemCodeOf(error), 'EMLINK')
    return true
  }
}

test('a file of 600 MB is bundled, sent and taken in, in pieces', async (context) => {
  const directory = temporaryDirectory(context)
  const from = join(directory, 'from')
  mkdirSync(from)
  const bytes = 600 * 2 ** 20
  writeFileSync(join(from, 'layer'), '')
  truncateSync(join(from, 'layer'), bytes)
  const storeAt = (name: string): Promise<BundleStore> =>
    createBundleStore({ root: join(directory, name), clock: systemClock })
  const [here, there] = [await storeAt('here'), await storeAt('there')]
  await assert.rejects(here.make({ from, runtime: null }), { code: 'artifact.too-big' })
  const before = process.resourceUsage().maxRSS
  const bundle = await here.make({ from, runtime: null, limits: bundleLimits })
  const keys = new Set((await here.contents(bundle.digest)).map(({ key }) => key))
  await there.importContents(here.exportContents(bundle.digest, keys))
  const arrived = await there.assemble(await here.encodedManifest(bundle.digest), bundle.digest)
  assert.equal(statSync(join(arrived.path, 'layer')).size, bytes)
  const grownBytes = (process.resourceUsage().maxRSS - before) * 1024
  assert.ok(grownBytes < bytes / 4, `${Math.round(grownBytes / 2 ** 20)} MB of memory`)
})
