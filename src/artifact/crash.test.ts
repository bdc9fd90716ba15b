/** kill -9 in the middle of making and importing: what is listed afterwards is whole, and the litter goes. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { test } from 'node:test'
import { setTimeout as sleepMs } from 'node:timers/promises'
import { systemClock } from '../base/index.ts'
import { createBundleStore } from './store.ts'
import { newStore, temporaryDirectory, writeTree } from './support.test.ts'

const rounds = 4

const prologue = `
  import { createReadStream } from 'node:fs'
  const { createBundleStore } = await import(${JSON.stringify(join(import.meta.dirname, 'store.ts'))})
  const { systemClock } = await import(${JSON.stringify(join(import.meta.dirname, '../base/index.ts'))})
  const [root, from] = process.argv.slice(1)
  const store = await createBundleStore({ root, clock: systemClock })
  const done = () => process.stdout.write('.')
  done()
`

/** Runs a script on the store and kills it some time after it has done so many rounds. Resolves when it is gone. */
async function killedAfter(done: number, delayMs: number, script: string, root: string, from: string): Promise<void> {
  const argv = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', prologue + script, root, from]
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] })
  const gone = once(child, 'exit')
  let dots = 0
  const enough = new Promise<void>((resolve) => {
    child.stdout.on('data', (text: Buffer) => {
      dots += text.length
      if (dots > done) resolve()
    })
  })
  await Promise.race([enough, gone])
  await sleepMs(delayMs)
  assert.equal(child.exitCode, null, 'the script should have gone on')
  child.kill('SIGKILL')
  await gone
}

/** Names in the store that are neither finished trees nor contents. */
function litterOf(root: string): string[] {
  const directories = ['trees', 'files', 'layers', 'runtimes']
  return directories.flatMap((name) => readdirSync(join(root, name)).filter((entry) => entry.startsWith('.')))
}

async function assertWhole(root: string): Promise<number> {
  const store = await createBundleStore({ root, clock: systemClock })
  assert.deepEqual(litterOf(root), [])
  const digests = await store.list()
  for (const digest of digests) {
    assert.notEqual(await store.open(digest), null)
    await store.verify(digest)
  }
  return digests.length
}

function manyFiles(): Record<string, string> {
  const names = Array.from({ length: 120 }, (_, index) => [`d${index % 7}/f${index}`, `content ${index}`])
  return Object.fromEntries(names)
}

test('kill -9 while bundles are made and swept', async (context) => {
  const root = join(temporaryDirectory(context), 'store')
  const from = writeTree(temporaryDirectory(context), manyFiles())
  const script = `
    import { writeFileSync } from 'node:fs'
    for (let round = 0; ; round++) {
      for (let file = 0; file < 100; file++) writeFileSync(from + '/d' + file % 7 + '/f' + file, 'round ' + process.pid + round + file)
      const { digest } = await store.make({ from, runtime: null })
      done()
      if (round % 2 === 1) await store.sweep(new Set([digest]))
    }
  `
  const counts: number[] = []
  for (let round = 0; round < rounds; round++) {
    await killedAfter(round % 3, round * 37, script, root, from)
    counts.push(await assertWhole(root))
  }
  context.diagnostic(`bundles that were listed after each kill: ${counts.join(', ')}`)
  const store = await createBundleStore({ root, clock: systemClock })
  const made = await store.make({ from, runtime: null })
  await store.sweep(new Set([made.digest]))
  await store.verify(made.digest)
})

test('kill -9 while a bundle is imported', async (context) => {
  const root = join(temporaryDirectory(context), 'store')
  const from = writeTree(temporaryDirectory(context), manyFiles())
  writeFileSync(join(from, 'large'), Buffer.alloc(20_000_000, 'large'))
  const here = await newStore(context)
  const { digest } = await here.make({ from, runtime: null })
  const stream = join(temporaryDirectory(context), 'stream')
  await pipeline(here.export(digest), createWriteStream(stream))
  const script = `
    for (let round = 0; ; round++) {
      await store.import(createReadStream(from))
      done()
      if (round % 2 === 0) await store.sweep(new Set())
    }
  `
  const counts: number[] = []
  for (let round = 0; round < rounds; round++) {
    await killedAfter(round % 3, round * 23, script, root, stream)
    counts.push(await assertWhole(root))
  }
  context.diagnostic(`bundles that were listed after each kill: ${counts.join(', ')}`)
})
