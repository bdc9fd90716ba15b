/** What is brought is taken in only while the disk has room for what runs there, also when it comes to its end on the way. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createBundleStore } from '../../artifact/index.ts'
import { systemClock } from '../../base/index.ts'
import { intakeOf } from './intake.ts'

test('a disk that is low takes nothing in, and one that becomes low stops what comes', async (context) => {
  const dir = mkdtempSync(join(tmpdir(), 'intake-'))
  context.after(() => rmSync(dir, { recursive: true, force: true }))
  const from = join(dir, 'app')
  mkdirSync(from)
  writeFileSync(join(from, 'one'), Buffer.alloc(20 * 1024 ** 2))
  writeFileSync(join(from, 'two'), 'small')
  const here = await createBundleStore({ root: join(dir, 'here'), clock: systemClock })
  const there = await createBundleStore({ root: join(dir, 'there'), clock: systemClock })
  const { digest } = await here.make({ from, runtime: null })
  const keys = (await here.contents(digest)).map(({ key }) => key)
  const send = (): AsyncIterable<Uint8Array> => here.exportContents(digest, new Set(keys))
  let free = [1e9]
  const intake = intakeOf(there, () => Promise.resolve({ freeBytes: free.shift() ?? 1e9, totalBytes: 100e9 }))

  await assert.rejects(intake.receive(send()), { code: 'cli.no-room' })
  free = [5e9, 1e9]
  await assert.rejects(intake.receive(send()), { code: 'cli.no-room' })
  assert.ok((await there.missing(keys)).length > 0)
  free = [5e9, 5e9, 1e9]
  assert.equal(await intake.receive(send()), 2)
  await assert.rejects(intake.assemble(digest, send()), { code: 'cli.no-room' })
  assert.deepEqual(await intake.missing(keys), [])
})
