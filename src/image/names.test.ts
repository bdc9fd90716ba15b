/** Names of images: two processes that name at once lose nothing, a name of any length is kept, a damaged one is told by its file. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { digestOf } from './digest.ts'
import { Names } from './names.ts'

function directoryOf(context: TestContext): string {
  const root = mkdtempSync(join(tmpdir(), 'stead-names-'))
  context.after(() => rmSync(root, { recursive: true, force: true }))
  return join(root, 'names')
}

const digest = digestOf('image')

test('two processes at once: every name of both is there, and of a name that both gave, one', async (context) => {
  const directory = directoryOf(context)
  const program = `
    const { Names } = await import(process.argv[1])
    const names = new Names(process.argv[2])
    for (let index = 0; index < 40; index++) {
      await names.set({ name: process.argv[3] + index, digest: '${digest}', takenMs: 1 })
      await names.set({ name: 'both', digest: '${digest}', takenMs: index })
      await names.list()
      await names.remove('none')
    }`
  const run = (prefix: string): Promise<unknown[]> => {
    const module = join(import.meta.dirname, 'names.ts')
    const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program]
    return once(spawn(process.execPath, [...args, module, directory, prefix], { stdio: 'inherit' }), 'exit')
  }
  const ends = await Promise.all([run('a'), run('b')])
  assert.deepEqual(
    ends.map(([code]) => code),
    [0, 0],
  )
  const names = (await new Names(directory).list()).map(({ name }) => name)
  assert.equal(names.length, 81)
  assert.deepEqual(names, names.toSorted())
  assert.ok(
    readdirSync(directory).every((file) => file.endsWith('.json')),
    'nothing half written',
  )
})

test('a name of any length and letters; removed; a damaged one is told', async (context) => {
  const directory = directoryOf(context)
  const names = new Names(directory)
  assert.deepEqual(await names.list(), [])
  const long = { name: `registry.example.org/${'x'.repeat(900)}:\u00fc`, digest, takenMs: 7 }
  await names.set(long)
  await names.set({ ...long, name: 'a' })
  assert.deepEqual(await names.list(), [{ ...long, name: 'a' }, long])
  await names.remove(long.name)
  assert.deepEqual(await names.list(), [{ ...long, name: 'a' }])
  writeFileSync(join(directory, 'damaged.json'), '{')
  await assert.rejects(names.list(), { code: 'image.names-unreadable', message: /damaged\.json/ })
})
