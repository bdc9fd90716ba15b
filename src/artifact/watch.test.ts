/** Watching: a change of the code is told, a change of anything else is not, also without events. */
import assert from 'node:assert/strict'
import { linkSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
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

/** Resolves when the watch has seen a change of `path`, so that it knows the state before the next. */
async function begun(path: string, changes: () => number): Promise<void> {
  let writes = 0
  await until(() => {
    writeFileSync(path, `begin ${writes++}`)
    return changes() > 0
  }, 'the first change')
  for (let before = -1; before !== changes();) {
    before = changes()
    await sleepMs(700)
  }
}

test('watch: changes, new directories, renames and removals are told', async (context) => {
  const store = await newStore(context)
  const from = writeTree(temporaryDirectory(context), { 'a/b': '1', '.steadignore': '*.log\n' })
  let changes = 0
  using _watch = store.watch(from, () => changes++)
  await begun(join(from, 'a/b'), () => changes)
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

test('watch: a change is told while something else never gets quiet', async (context) => {
  const store = await newStore(context)
  const from = writeTree(temporaryDirectory(context), { a: '1', '.steadignore': '*.log\n' })
  let changes = 0
  using _watch = store.watch(from, () => changes++)
  await begun(join(from, 'a'), () => changes)
  const before = changes
  writeFileSync(join(from, 'a'), '2')
  let lines = 0
  await until(() => {
    writeFileSync(join(from, 'x.log'), String(lines++))
    return changes > before
  }, 'the change of a')
})

test('watch: what stays out of bundles is not told', async (context) => {
  const store = await newStore(context)
  const from = writeTree(temporaryDirectory(context), { a: '1', '.steadignore': '*.log\n', 'node_modules/x': '1' })
  let changes = 0
  using _watch = store.watch(from, () => changes++)
  await begun(join(from, 'a'), () => changes)
  const before = changes
  for (const path of ['x.log', 'a.swp~', 'node_modules/x']) writeFileSync(join(from, path), '2')
  await sleepMs(500)
  assert.equal(changes, before)
})

test('watch: a change without an event is found by looking, and nothing is told after the end', async (context) => {
  const clock = new ManualClock()
  const store = await newStore(context, { clock })
  const from = writeTree(temporaryDirectory(context), {})
  // Written through its name elsewhere: there is no event for the directory that is watched.
  const elsewhere = join(writeTree(temporaryDirectory(context), { a: '1' }), 'a')
  linkSync(elsewhere, join(from, 'a'))
  let changes = 0
  let writes = 0
  const watch = store.watch(from, () => changes++)
  const writeAndLook = (): boolean => {
    writeFileSync(elsewhere, String(writes++))
    clock.advance(5000)
    return changes > 0
  }
  await until(writeAndLook, 'the look without an event')
  watch[Symbol.dispose]()
  const before = changes
  for (let step = 0; step < 20; step++) {
    writeAndLook()
    await sleepMs(10)
  }
  assert.equal(changes, before)
})
