/** Durability is proved where it is there, refused where it is not, and the server's own count is the one that strace has. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { appendFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { makeTestPostgres } from './conformance.ts'
import { withSession } from './drivers/connection.ts'
import { type DurabilityFindings, findDurability, judgeDurability, judgeHosted } from './durability.ts'
import { adminRole, maintenanceDatabase } from './names.ts'

const settings = { fsync: 'on', synchronous_commit: 'on', full_page_writes: 'on', wal_sync_method: 'fdatasync' }
const found: DurabilityFindings = { settings, commits: 4, flushes: 4, counter: 'pg_stat_wal' }

suite('the judgement', () => {
  test('says how it is known', () => {
    assert.equal(
      judgeDurability('db', { ...found, flushes: 6 }),
      '1.5 flushes for each commit (fdatasync), counted by pg_stat_wal',
    )
    assert.match(judgeDurability('db', { ...found, flushes: null }), /does not count/)
    const through = { ...settings, wal_sync_method: 'open_datasync' }
    assert.match(judgeDurability('db', { ...found, settings: through, flushes: 0 }), /written through/)
    assert.match(judgeDurability('db', { ...found, settings: { ...settings, synchronous_commit: 'local' } }), /1\.0/)
  })

  for (const [what, more, says] of [
    ['fsync off', { settings: { ...settings, fsync: 'off' } }, /fsync is off/],
    ['synchronous_commit off', { settings: { ...settings, synchronous_commit: 'off' } }, /synchronous_commit is off/],
    ['full_page_writes off', { settings: { ...settings, full_page_writes: 'off' } }, /full_page_writes is off/],
    ['a setting that is not there', { settings: {} }, /fsync is not known/],
    ['a server that says it flushes, and does not', { flushes: 0 }, /4 commits .* no flush/],
  ] as const) {
    test(`refuses ${what}`, () => {
      assert.throws(() => judgeDurability('db', { ...found, ...more }), { code: 'database.not-durable', message: says })
    })
  }
})

test('of a server that others run only what it is set to counts', () => {
  assert.match(judgeHosted('db', { ...settings, full_page_writes: 'off' }), /hosted elsewhere/)
  for (const setting of ['fsync', 'synchronous_commit'])
    assert.throws(() => judgeHosted('db', { ...settings, [setting]: 'off' }), { code: 'database.not-durable' })
})

suite('a real server', { timeout: 240_000 }, () => {
  test('is proved by its own count, which strace agrees with, and refused as soon as it is set otherwise', async (t) => {
    await using postgres = await makeTestPostgres()
    await postgres.resource.start()
    const { provider, resource, server } = postgres
    assert.match(
      (await provider.durability?.(resource.context)) ?? '',
      /[1-9]\d*\.\d flushes for each commit .*pg_stat_/,
    )

    const strace = '/usr/bin/strace'
    if (!existsSync(strace)) t.diagnostic('strace is not here: its count was not compared')
    else {
      const { findings, traced } = await underStrace(strace, postgres)
      if (traced === null) t.diagnostic('strace may not attach here: its count was not compared')
      else {
        assert.ok(traced >= findings.commits, `${traced} flushes were seen for ${findings.commits} commits`)
        assert.ok((findings.flushes ?? 0) >= findings.commits, 'the server counts each')
      }
    }

    const login = { user: adminRole, password: server.adminPassword, database: maintenanceDatabase }
    for (const setting of ['fsync', 'synchronous_commit']) {
      // The last line wins.
      const set = async (to: string): Promise<void> => {
        await appendFile(join(resource.context.dataDir, 'pgdata', 'stead.conf'), `${setting} = ${to}\n`)
        await withSession(server, login, (session) => session.query('select pg_reload_conf()'))
      }
      await set('off')
      await until(async () => (await refusal()) !== null)
      assert.match((await refusal()) ?? '', new RegExp(`database\\.not-durable .*${setting} is off`))
      await set('on')
      await until(async () => (await refusal()) === null)
    }

    async function refusal(): Promise<string | null> {
      try {
        await provider.durability?.(resource.context)
        return null
      } catch (error) {
        const { code, message } = error as { code: string; message: string }
        return `${code} ${message}`
      }
    }
  })
})

/** What the server counts in a session, and the flushes that strace sees in its process; null where it may not look. */
async function underStrace(
  program: string,
  { server }: Awaited<ReturnType<typeof makeTestPostgres>>,
): Promise<{ findings: DurabilityFindings; traced: number | null }> {
  const dir = mkdtempSync(join(tmpdir(), 'stead-strace-'))
  const output = join(dir, 'trace')
  const login = { user: adminRole, password: server.adminPassword, database: maintenanceDatabase }
  try {
    return await withSession(server, login, async (session) => {
      const pid = (await session.query<{ pid: number }>('select pg_backend_pid() as pid'))[0]?.pid ?? 0
      const tracer = spawn(program, ['-e', 'trace=fsync,fdatasync', '-o', output, '-p', String(pid)], {
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      let said = ''
      tracer.stderr.on('data', (piece: Buffer) => (said += String(piece)))
      const ended = new Promise((resolve) => tracer.once('close', resolve))
      await until(async () => said.includes('attached') || tracer.exitCode !== null)
      const findings = await findDurability(session)
      const attached = tracer.exitCode === null
      tracer.kill('SIGINT')
      await ended
      return { findings, traced: attached ? flushesIn(readFileSync(output, 'utf8')) : null }
    })
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Flushes that have succeeded, in the output of strace. */
function flushesIn(trace: string): number {
  return [...trace.matchAll(/\bf(?:data)?sync\(\d+\)\s*= 0/g)].length
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let round = 0; !(await holds()); round += 1) {
    assert.ok(round < 600, 'it does not come to be')
    await pause(50)
  }
}
