/**
 * Killed at any moment, the store holds for each key the last object that was answered, or one that was being written after
 * it, whole; and after the sweep of the next start there is no file that nothing refers to.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { seededRandom } from '../../base/index.ts'
import { bytesOf } from '../objects.conformance.ts'
import { openEmbeddedObjects } from './embedded/embedded.ts'
import { contentOf, keys } from './embedded-writer.test-helper.ts'

const kills = 4
const program = join(import.meta.dirname, 'embedded-writer.test-helper.ts')

/** What a writer said before it was killed: by key, the numbers that may be seen now. */
function allowedOf(output: string, allowed: Map<number, Set<number>>): number {
  let next = 0
  for (const [, word, text] of output.matchAll(/^(begin|done) (\d+)$/gm)) {
    const number = Number(text)
    const key = number % keys
    if (word === 'begin') allowed.set(key, new Set([...(allowed.get(key) ?? [-1]), number]))
    // Of one key one write runs at a time, so what is answered replaces all before it.
    else allowed.set(key, new Set([number]))
    next = Math.max(next, number + 1)
  }
  return next
}

/** Runs a writer and kills it when it has said so many lines: some before a write, some after one, most during one. */
async function killedWriter(dir: string, start: number, lines: number): Promise<string> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, dir, String(start)])
  let [output, errors] = ['', '']
  child.stderr.on('data', (piece) => (errors += String(piece)))
  child.stdout.on('data', (piece) => {
    output += String(piece)
    if (output.split('\n').length > lines) child.kill('SIGKILL')
  })
  await new Promise((resolve) => child.on('close', resolve))
  assert.equal(child.signalCode, 'SIGKILL', errors)
  return output
}

test('killed at any moment, an object is the old one or the new one, and no litter stays', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'stead-objects-crash-'))
  try {
    const random = seededRandom(77)
    const allowed = new Map<number, Set<number>>()
    let start = 0
    for (let kill = 0; kill < kills; kill += 1) {
      const output = await killedWriter(dir, start, 4 + ((random.bytes(1)[0] ?? 0) % 50))
      start = Math.ceil(allowedOf(output, allowed) / 4) * 4
      await using objects = await openEmbeddedObjects({ dir })
      const bucket = await objects.bucket('crash')
      for (const [key, numbers] of allowed) {
        const read = await bucket.get(`key${key}`)
        const seen = read === null ? null : await bytesOf(read)
        const found = [...numbers].find((number) => {
          const content = contentOf(number)
          return seen === null || content === null ? seen === content : content.equals(seen)
        })
        assert.ok(found !== undefined, `key${key} holds none of ${[...numbers].join(', ')}`)
      }
      await objects.swept()
      assertNoLitter(dir)
    }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})

/** Every file is named by what it holds, there are not more of them than keys, and nothing is half-written. */
function assertNoLitter(dir: string): void {
  assert.deepEqual(readdirSync(join(dir, 'incoming')), [])
  let files = 0
  for (const shard of readdirSync(join(dir, 'blobs'))) {
    for (const rest of readdirSync(join(dir, 'blobs', shard))) {
      files += 1
      const hash = createHash('sha256')
        .update(readFileSync(join(dir, 'blobs', shard, rest)))
        .digest('hex')
      assert.equal(hash, shard + rest)
    }
  }
  assert.ok(files <= keys, `${files} files for ${keys} keys`)
}
