/** Roles go from one process to the next, and only the process that wrote a claim is ever signalled. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { claim, holderOf, release, takeOver } from './claim.ts'

const dir = mkdtempSync(join(tmpdir(), 'stead-claim-'))
after(() => rmSync(dir, { recursive: true }))

/** A process that has the role at `path`, and lets go on SIGTERM if it is `polite`. */
async function holding(path: string, polite: boolean): Promise<{ pid: number; ended: Promise<NodeJS.Signals | null> }> {
  const module = JSON.stringify(join(import.meta.dirname, 'claim.ts'))
  const program = `
    import { claim, release } from ${module}
    claim(process.argv[1], 'x')
    process.on('SIGTERM', () => { if (${polite}) { release(process.argv[1]); process.exit(0) } })
    console.log('holds')
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, [
    '--input-type=module',
    '--disable-warning=ExperimentalWarning',
    '-e',
    program,
    path,
  ])
  await new Promise((resolve) => child.stdout.once('data', resolve))
  return {
    pid: child.pid ?? 0,
    ended: new Promise((resolve) => child.once('exit', (_code, signal) => resolve(signal))),
  }
}

test('whoever claims a role is its holder until it releases it', () => {
  const path = join(dir, 'own', 'role.json')
  assert.equal(holderOf(path), null)
  claim(path, '1.2.3')
  assert.deepEqual([holderOf(path)?.pid, holderOf(path)?.version], [process.pid, '1.2.3'])
  release(path)
  assert.equal(holderOf(path), null)
})

test('a holder is asked to go, and one that does not is ended', async () => {
  const path = join(dir, 'role.json')
  const polite = await holding(path, true)
  await takeOver(path, 10_000)
  assert.equal(await polite.ended, null)
  const stubborn = await holding(path, false)
  await takeOver(path, 200)
  assert.equal(await stubborn.ended, 'SIGKILL')
})

test('a claim of a process that has ended, or whose number is another’s now, or that is no claim, counts for nothing', async () => {
  const path = join(dir, 'stale.json')
  const { pid } = await holding(path, true)
  const written = readFileSync(path, 'utf8')
  // The same number, another start: this very process would be signalled if only the number counted.
  writeFileSync(path, written.replace(String(pid), String(process.pid)))
  assert.equal(holderOf(path), null)
  await takeOver(path, 1000)
  for (const text of ['', '{', '{"pid":-1}', '{"pid":"x"}']) {
    writeFileSync(path, text)
    assert.equal(holderOf(path), null)
  }
  writeFileSync(path, written)
  process.kill(pid, 'SIGKILL')
  await takeOver(path, 10_000)
  assert.equal(holderOf(path), null)
})

test('a release takes nothing from a successor', async () => {
  const path = join(dir, 'next.json')
  claim(path, '1')
  const next = await holding(path, true)
  release(path)
  assert.equal(holderOf(path)?.pid, next.pid)
  await takeOver(path, 10_000)
})
