/** Files in memory: whose they are, that they are replaced whole, and that nothing of them stays. */
import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { MemoryFiles } from './memory-files.ts'
import { mayChangeOwner } from './options.ts'

function place(): Disposable & { readonly runDir: string; readonly files: MemoryFiles } {
  const runDir = mkdtempSync(join(tmpdir(), 'stead-run-'))
  const files = new MemoryFiles(runDir)
  return {
    runDir,
    files,
    [Symbol.dispose]() {
      for (const id of ['a', 'b', 'shop.web.1']) files.remove(id)
      files.close()
      rmSync(runDir, { recursive: true })
    },
  }
}

const uid = 1_900_000_001

test('secrets belong to the program, in a directory of its own; texts to nobody but the agent', () => {
  using at = place()
  at.files.putTexts('shop.web.1', [Buffer.from('hunter2')])
  assert.equal(at.files.putSecrets('shop.web.1', [{ name: 'key', content: 'hunter2' }], uid), true)
  const path = join(at.files.secretsDir('shop.web.1'), 'key')
  assert.equal(readFileSync(path, 'utf8'), 'hunter2')
  assert.equal(statSync(path).mode & 0o777, 0o400)
  assert.equal(statSync(at.files.textsPath('shop.web.1')).mode & 0o777, 0o600)
  if (!mayChangeOwner()) return
  assert.deepEqual(
    [statSync(path).uid, statSync(dirname(path)).uid, statSync(dirname(path)).mode & 0o777],
    [uid, uid, 0o500],
  )
  assert.equal(statSync(at.files.textsPath('shop.web.1')).uid, 0)
})

test('only what differs is replaced, and it is another file then', () => {
  using at = place()
  const put = (key: string): boolean => {
    const both = [key, 'same'].map((content, index) => ({ name: `file-${index}`, content }))
    return at.files.putSecrets('a', both, uid)
  }
  const inode = (name: string): number => statSync(join(at.files.secretsDir('a'), name)).ino
  assert.equal(put('one'), true)
  const before = [inode('file-0'), inode('file-1')]
  assert.equal(put('one'), false)
  assert.deepEqual([inode('file-0'), inode('file-1')], before)
  assert.equal(put('two'), true)
  assert.notEqual(inode('file-0'), before[0])
  assert.equal(inode('file-1'), before[1])
  assert.equal(at.files.putSecrets('a', [], uid), true)
  assert.deepEqual(readdirSync(at.files.secretsDir('a')), [])
})

test('what belongs to no instance goes, and with the last of it the directory', () => {
  using at = place()
  for (const id of ['a', 'b']) at.files.putSecrets(id, [{ name: 'key', content: id }], uid)
  at.files.close()
  at.files.sweep(new Set(['b']))
  assert.deepEqual([existsSync(at.files.secretsDir('a')), existsSync(at.files.secretsDir('b'))], [false, true])
  at.files.remove('b')
  at.files.close()
  assert.ok(!existsSync(dirname(dirname(at.files.secretsDir('b')))))
})

test('a directory that others may write is refused', () => {
  using at = place()
  const root = dirname(dirname(at.files.secretsDir('x')))
  at.files.putTexts('a', [])
  chmodSync(root, 0o777)
  assert.throws(() => at.files.putTexts('b', []), { code: 'agent.unsafe-directory' })
  chmodSync(root, 0o711)
})
