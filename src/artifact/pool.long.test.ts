/** A content that more files hold than the file system allows names: a few trees of many empty files are enough. */
import assert from 'node:assert/strict'
import { linkSync, mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemCodeOf } from '../base/index.ts'
import { FilePool } from './pool.ts'
import { inspectFile } from './scan.ts'
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
