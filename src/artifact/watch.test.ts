/** Watching: a change of the code is told, a change of anything else is not, also without events. */
import assert from 'node:assert/strict'
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleepMs } from 'node:timers/promises'
import { ManualClock } from '../base/index.ts'
import { newStore, temporaryDirectory, writeTree } from './support.test.ts'

const waitMs = 15_000

/** Waits for a condition, at most `waitMs`. */
async function until(condition: () => boolean, what: string): Promise<void> {
  const endMs = performance.now() + waitMs
  while (!condition()) {
    assert.ok(performance.now() < endMs, `not within ${waitMs} ms: ${what}`)
    await sleepMs(10)
  }
}

test('watch: changes, new directories, renames and removals are told', async (context) => {
  const store = await newStore(context)
  const from = writeTree(temporaryDirectory(context), { 'a/b': '1', '.steadignore': '*.log\n' })
  let changes = 0
  using _watch = store.watch(from, () => changes++)
  await sleepMs(300)
  const told = async (what: string, change: () => void): Promise<void> => {
    const before = changes
    const startMs = performance.now()
    change()
    await until(() => changes > before, what)
    context.diagnostic(`${what}: told after ${(performance.now() - startMs).toFixed(0)} ms`)
  }
  await told('a file changes', () => writeFileSync(join(from, 'a/b'), '2'))
  await told('a directory comes', () => mkdirSync(join(from, 'new')) ?? writeFileSync(join(from, 'new/c'), '3'))
  await told('a file in the new directory changes', () => writeFileSync(join(from, 'new/c'), '4'))
  await told('a file is renamed', () => renameSync(join(from, 'new/c'), join(from, 'new/d')))
  const replace = (): void => {
    rmSync(join(from, 'a'), { recursive: true })
    writeTree(from, { 'a/b': '5' })
  }
  await told('a directory is replaced', replace)
  await told('a file in the replaced directory changes', () => writeFileSync(join(from, 'a/b'), '6'))
  await told('all is removed', () => rmSync(from, { recursive: true }))
})

test('watch: what stays out of bundles is not told', async (context) => {
  const store = await newStore(context)
  const from = writeTree(temporaryDirectory(context), { a: '1', '.steadignore': '*.log\n', 'node_modules/x': '1' })
  let changes = 0
  using _watch = store.watch(from, () => changes++)
  await sleepMs(300)
  for (const path of ['x.log', 'a.swp~', 'node_modules/x']) writeFileSync(join(from, path), '2')
  await sleepMs(500)
  assert.equal(changes, 0)
})

test('watch: a change without an event is found by looking, and nothing is told after the end', async (context) => {
  const clock = new ManualClock()
  const store = await newStore(context, { clock })
  const from = writeTree(temporaryDirectory(context), { a: '1' })
  let changes = 0
  const watch = store.watch(from, () => changes++)
  await sleepMs(300)
  // Time stands still, so that no event is followed; only the look after some seconds can find this.
  writeFileSync(join(from, 'a'), '22')
  await until(() => {
    clock.advance(1000)
    return changes > 0
  }, 'the look without an event')
  watch[Symbol.dispose]()
  const before = changes
  writeFileSync(join(from, 'a'), '333')
  for (let step = 0; step < 20; step++) {
    clock.advance(1000)
    await sleepMs(10)
  }
  assert.equal(changes, before)
})
