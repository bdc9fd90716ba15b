/** What the tests of this room share: directories that go away, trees from plain objects, stores. No tests of its own. */
import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import { isSteadError, systemClock } from '../base/index.ts'
import { removeTree } from './disk.ts'
import type { BundleStoreOptions } from './store.ts'
import { createBundleStore } from './store.ts'
import type { BundleStore } from './store.ts'

/** A directory for one test, removed after it. Other users may look in. */
export function temporaryDirectory(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'stead-artifact-'))
  chmodSync(path, 0o755)
  context.after(() => removeTree(path))
  return path
}

/** Path -> text of a file, `-> target` for a link, `!text` for an executable file. */
export type TreeText = Readonly<Record<string, string>>

/** Writes a tree and returns its directory. */
export function writeTree(directory: string, tree: TreeText): string {
  mkdirSync(directory, { recursive: true })
  for (const [path, text] of Object.entries(tree)) {
    const target = join(directory, path)
    mkdirSync(dirname(target), { recursive: true })
    if (text.startsWith('-> ')) symlinkSync(text.slice(3), target)
    else writeFileSync(target, text.replace(/^!/, ''), { mode: text.startsWith('!') ? 0o755 : 0o644 })
  }
  return directory
}

/** A new store in a directory of its own. */
export function newStore(context: TestContext, options: Partial<BundleStoreOptions> = {}): Promise<BundleStore> {
  return createBundleStore({ root: join(temporaryDirectory(context), 'store'), clock: systemClock, ...options })
}

/** Asserts that work fails with a code and a message that matches. */
export async function fails(work: Promise<unknown>, code: string, message: RegExp = /./): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(isSteadError(error), String(error instanceof Error ? error.stack : error))
    assert.equal(error.code, code, error.message)
    assert.match(error.message, message)
    assert.ok(error.hint !== undefined, 'an error needs a hint')
    return true
  })
}
