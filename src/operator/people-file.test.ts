/** The files of people: whose they are after they were replaced, and what becomes of a list that cannot be used. */
import assert from 'node:assert/strict'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ManualClock, seededRandom } from '../base/index.ts'
import { needsRoot } from '../../test/needs.ts'
import { readPeople, writeKeys } from './people-file.ts'

const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFk3bYp8p7Yw0QnUuZpZ5C3pQm7d1Jr4Xo2n9rYy0a1B'
const ann = {
  name: 'ann',
  sinceMs: 0,
  role: 'viewer',
  rights: [],
  apps: null,
  expiresAtMs: null,
  sshKeys: [key],
  tokens: [],
} as const

function place(): Disposable & { readonly dir: string } {
  const dir = mkdtempSync(join(tmpdir(), 'op-'))
  return { dir, [Symbol.dispose]: () => rmSync(dir, { recursive: true }) }
}

test('the keys of another account stay its own, and new ones become it', { skip: needsRoot() }, async () => {
  using at = place()
  const path = join(at.dir, 'authorized_keys')
  chownSync(at.dir, 1234, 1235)
  for (const mode of [0o600, 0o640]) {
    await writeKeys(path, ['/opt/stead/bin/stead'], [{ ...ann, name: `ann${mode}` }])
    const { uid, gid, mode: after } = statSync(path)
    assert.deepEqual([uid, gid, after & 0o777], [1234, 1235, mode])
    assert.ok(readFileSync(path, 'utf8').includes(`ann${mode}`))
    chmodSync(path, 0o640)
  }
  assert.deepEqual(readdirSync(at.dir), ['authorized_keys'])
})

test('a damaged list is laid aside and kept, each time; one that cannot be read stays where it is', async () => {
  using at = place()
  const path = join(at.dir, 'people.json')
  const notices: string[] = []
  const options = {
    clock: new ManualClock(Date.parse('2026-03-01T12:00:00Z')),
    random: seededRandom(7),
    onNotice: (text: string) => void notices.push(text),
  }
  assert.deepEqual(await readPeople(path, options), [])
  for (const text of ['[', '[{}]']) {
    writeFileSync(path, text)
    assert.deepEqual(await readPeople(path, options), [])
  }
  const aside = readdirSync(at.dir)
  assert.deepEqual(aside.map((name) => readFileSync(join(at.dir, name), 'utf8')).toSorted(), ['[', '[{}]'])
  assert.ok(aside.every((name) => name.startsWith('people.json.damaged-2026-03-01T12-00-00')))
  assert.equal(notices.length, 2)
  mkdirSync(path)
  await assert.rejects(readPeople(path, options), { code: 'operator.people-unreadable' })
  assert.ok(statSync(path).isDirectory())
})
