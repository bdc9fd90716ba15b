/** A large object goes in and out through a server of its own process in constant memory: 5 GB within 150 MB. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { credential } from './embedded-place.test-helper.ts'
import { openS3Store } from './s3/s3.ts'

const objectBytes = 5_000_000_000
const pieceBytes = 1_000_000
const rssBytesMax = 150_000_000

async function* content(): AsyncGenerator<Uint8Array> {
  const piece = Buffer.alloc(pieceBytes)
  for (let index = 0; index < objectBytes / pieceBytes; index += 1) {
    piece.writeDoubleLE(index, 0)
    yield Buffer.from(piece)
  }
}

test('5 GB within 150 MB', { timeout: 1_800_000 }, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'stead-objects-memory-'))
  const module = import.meta.resolve('./embedded/embedded.ts')
  const source = `
    const { openEmbeddedObjects } = await import(${JSON.stringify(module)})
    const objects = await openEmbeddedObjects({ dir: ${JSON.stringify(join(dir, 'objects'))} })
    await objects.bucket('large')
    const server = await objects.listen({ port: 0, credentials: () => (${JSON.stringify(credential)}) })
    console.log(server.port)`
  // Compiled code is kept, as ./stead keeps it: the compiler of types would stay in memory.
  const env = { ...process.env, NODE_COMPILE_CACHE: join(dir, 'compiled') }
  // What passes through is garbage at once; a small nursery has it collected before it piles up.
  const flags = ['--max-semi-space-size=2', '--disable-warning=ExperimentalWarning', '--input-type=module']
  execFileSync(process.execPath, [...flags, '-e', `await import(${JSON.stringify(module)})`], { env })
  const child = spawn(process.execPath, [...flags, '-e', source], { env })
  try {
    const port = await new Promise<number>((resolve, reject) => {
      child.stdout.once('data', (text) => resolve(Number(String(text))))
      child.stderr.once('data', (text) => reject(new Error(String(text))))
    })
    const capabilities = {
      putIfAbsent: true,
      putIfMatch: true,
      checksums: true,
      presign: true,
      paging: true,
      versions: false,
      durability: 'fsync',
    } as const
    const endpoint = `http://127.0.0.1:${port}`
    await using store = openS3Store({ endpoint, bucket: 'large', ...credential, capabilities })
    const written = await store.put('large', content())
    assert.equal(written.bytes, objectBytes)
    const read = await store.get('large')
    const [sent, got] = [createHash('sha1'), createHash('sha1')]
    for await (const piece of content()) sent.update(piece)
    for await (const piece of read?.body ?? []) got.update(piece)
    assert.equal(got.digest('hex'), sent.digest('hex'))
    const peak = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) * 1024
    process.stdout.write(`at most ${(peak / 1e6).toFixed(0)} MB\n`)
    assert.ok(peak <= rssBytesMax, `the server used ${(peak / 1e6).toFixed(0)} MB`)
  } finally {
    child.kill('SIGKILL')
    rmSync(dir, { recursive: true, force: true })
  }
})
