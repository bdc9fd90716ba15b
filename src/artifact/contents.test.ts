/** Sending only what the other side lacks: contents arrive whole or not at all, and what has arrived is not sent again. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Bundle } from './bundle.ts'
import type { BundleStore } from './store.ts'
import { fails, newStore, temporaryDirectory, type TreeText, writeTree } from './support.test.ts'

const tree: TreeText = {
  'main.js': 'one',
  'lib/a.js': 'two',
  'lib/same.js': 'two',
  'bin/run': '!two',
  link: '-> main.js',
}

/** Sends of a bundle what `there` lacks; answers how many contents that were. */
async function send(here: BundleStore, there: BundleStore, { digest }: Bundle): Promise<number> {
  const keys = (await here.contents(digest)).map(({ key }) => key)
  const missing = await there.missing(keys)
  if (missing.length > 0) await there.importContents(here.exportContents(digest, new Set(missing)))
  await there.assemble(await here.encodedManifest(digest), digest)
  return missing.length
}

async function* cutAfter(stream: AsyncIterable<Uint8Array>, bytesMax: number): AsyncGenerator<Uint8Array> {
  let bytes = 0
  for await (const chunk of stream) {
    if (bytes + chunk.length > bytesMax) {
      yield chunk.subarray(0, bytesMax - bytes)
      return
    }
    bytes += chunk.length
    yield chunk
  }
}

test('each content travels once, and of a changed tree only what changed', async (context) => {
  const [here, there] = [await newStore(context), await newStore(context)]
  const from = writeTree(temporaryDirectory(context), tree)
  const first = await here.make({ from, runtime: null })
  // `two` is there twice, and once more as a program.
  assert.equal(await send(here, there, first), 3)
  await there.verify(first.digest)
  assert.equal(await send(here, there, first), 0)
  writeFileSync(join(from, 'main.js'), 'three')
  const second = await here.make({ from, runtime: null })
  assert.equal(await send(here, there, second), 1)
  await there.verify(second.digest)
})

test('what had arrived before a cut stays, and the rest is sent', async (context) => {
  const [here, there] = [await newStore(context), await newStore(context)]
  const from = temporaryDirectory(context)
  for (let index = 0; index < 300; index += 1) writeFileSync(join(from, `f${index}`), randomBytes(1000))
  const bundle = await here.make({ from, runtime: null })
  const keys = (await here.contents(bundle.digest)).map(({ key }) => key)
  for (const bytesMax of [0, 10, 280_123]) {
    const stream = here.exportContents(bundle.digest, new Set(keys))
    await fails(there.importContents(cutAfter(stream, bytesMax)), 'artifact.import-refused')
  }
  const missing = await there.missing(keys)
  assert.ok(missing.length > 0 && missing.length < 100, `${missing.length} are missing`)
  await fails(there.assemble(await here.encodedManifest(bundle.digest), bundle.digest), 'artifact.import-refused')
  assert.deepEqual(await there.list(), [])
  assert.equal(await send(here, there, bundle), missing.length)
  await there.verify(bundle.digest)
})

test('nothing is believed: contents, headers, keys, manifests', async (context) => {
  const [here, there] = [await newStore(context), await newStore(context)]
  const from = writeTree(temporaryDirectory(context), tree)
  const bundle = await here.make({ from, runtime: null })
  const keys = (await here.contents(bundle.digest)).map(({ key }) => key)
  const whole = Buffer.concat(await Array.fromAsync(here.exportContents(bundle.digest, new Set(keys))))
  for (let at = 0; at < whole.length; at += 7) {
    const bad = Buffer.from(whole)
    bad[at] = (bad[at] ?? 0) ^ 1
    await assert.rejects(there.importContents(streamOf(bad)), { name: 'SteadError' })
  }
  await fails(there.missing(['../../etc/passwd']), 'artifact.import-refused')
  const manifest = Buffer.from(await here.encodedManifest(bundle.digest))
  await there.importContents(streamOf(whole))
  await fails(there.assemble(Buffer.concat([manifest, Buffer.from(' ')]), bundle.digest), 'artifact.import-refused')
  await there.assemble(manifest, bundle.digest)
})

test('Node travels as its executable, and runs under the same name there', async (context) => {
  const [here, there] = [await newStore(context), await newStore(context)]
  const { runtime } = await here.resolveRuntime('node')
  assert.ok(runtime)
  assert.equal(await there.openRuntime(runtime), null)
  const exported = await here.exportRuntime(runtime)
  assert.ok(exported)
  await fails(there.assembleRuntime(runtime, exported.content.sizeBytes), 'artifact.import-refused')
  await there.importContents(exported.stream)
  await there.assembleRuntime(runtime, exported.content.sizeBytes)
  const opened = await there.openRuntime(runtime)
  assert.equal(opened?.runtime?.digest, runtime.digest)
  await fails(there.assembleRuntime({ ...runtime, name: 'python3' }, 1), 'artifact.runtime-missing')
})

async function* streamOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}
