/** What the SQLite driver refuses, what it survives, and that a commit is really forced to the disk. */
import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { suite, test } from 'node:test'
import { needsAll, needsFile, needsRoot } from '../../../test/needs.ts'
import { isSteadError } from '../../base/index.ts'
import { refuses } from '../record.conformance.ts'
import { openSqliteStore } from './sqlite.ts'

const driver = import.meta.resolve('./sqlite.ts')

/** A folder that is removed afterwards. */
async function temporary(): Promise<AsyncDisposable & { readonly folder: string; readonly path: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'stead-store-'))
  return { folder, path: join(folder, 'store.db'), [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) }
}

/** A closed store with some records. */
async function filled(path: string): Promise<void> {
  await using store = await openSqliteStore({ path })
  for (let index = 0; index < 50; index += 1) await store.putIf(`key/${index}`, 'x'.repeat(1000), 0)
}

/** A program in another process. It may use `store`, opened at `path`. */
function program(path: string, body: string): string[] {
  const open = `const { openSqliteStore } = await import(${JSON.stringify(driver)})
    const store = await openSqliteStore({ path: ${JSON.stringify(path)} })`
  return ['--input-type=module', '--eval', `${open}\n${body}`]
}

suite('sqlite files', () => {
  test('a file has one owner, also within a process; a dead owner is none', async () => {
    await using place = await temporary()
    const owner = spawn(
      process.execPath,
      program(place.path, `await store.putIf('a', 1, 0); console.log('open'); setInterval(() => {}, 1000)`),
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    const closed = once(owner, 'close')
    try {
      await Promise.race([once(owner.stdout, 'data'), closed])
      await refuses('store.in-use', () => openSqliteStore({ path: place.path }))
    } finally {
      owner.kill('SIGKILL')
      await closed
    }
    await using store = await openSqliteStore({ path: place.path })
    assert.equal((await store.get('a'))?.value, 1)
    await refuses('store.in-use', () => openSqliteStore({ path: place.path }))
    const other = spawnSync(process.execPath, program(place.path, ''), { encoding: 'utf8' })
    assert.match(other.stderr, /store\.in-use/, 'the refused opening must not have dropped the lock')
  })

  test('damage anywhere is found when the file is opened', async () => {
    await using place = await temporary()
    await filled(place.path)
    const whole = readFileSync(place.path)
    const damages = {
      header: (bytes: Buffer) => bytes.fill(0x55, 0, 16),
      page: (bytes: Buffer) => bytes.fill(0x55, 4096, 8192),
      end: (bytes: Buffer) => bytes.subarray(0, Math.floor(bytes.length / 2)),
    }
    for (const damage of Object.values(damages)) {
      writeFileSync(place.path, damage(Buffer.from(whole)))
      await refuses('store.corrupt', () => openSqliteStore({ path: place.path }))
    }
    writeFileSync(place.path, whole)
    await using store = await openSqliteStore({ path: place.path })
    assert.equal((await store.list('')).revision, 50)
  })

  test('a file of a newer version, or of somebody else, is refused and not changed', async () => {
    await using place = await temporary()
    await filled(place.path)
    const refused = async (sql: string, code: string): Promise<void> => {
      const db = new DatabaseSync(place.path)
      db.exec(sql)
      db.close()
      const before = readFileSync(place.path)
      await refuses(code, () => openSqliteStore({ path: place.path }))
      assert.ok(before.equals(readFileSync(place.path)))
    }
    await refused('PRAGMA user_version = 7', 'store.newer-version')
    await openSqliteStore({ path: place.path }).catch((error) => assert.match(error.message, /version 7.*up to 1/))
    await refused('PRAGMA application_id = 1', 'store.foreign')
    rmSync(place.path)
    await refused('CREATE TABLE theirs (x); PRAGMA journal_mode = DELETE', 'store.foreign')
    await refuses('store.cannot-open', () => openSqliteStore({ path: join(place.folder, 'no', 'store.db') }))
    await refuses('store.cannot-open', () => openSqliteStore({ path: place.folder }))
  })

  test('a full disk refuses commits whole, and room is all it takes to go on', { skip: needsRoot() }, async () => {
    await using place = await temporary()
    const disk = join(place.folder, 'disk')
    mkdirSync(disk)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', disk])
    try {
      const path = join(disk, 'store.db')
      const ballast = join(disk, 'ballast')
      writeFileSync(ballast, Buffer.alloc(1024 * 1024))
      await using store = await openSqliteStore({ path })
      const text = 'x'.repeat(50_000)
      const write = (index: number) => {
        const operations = ['a', 'b'].map((half) => ({ kind: 'put', key: `${index}/${half}`, value: text }) as const)
        return store.transact({ conditions: [], operations })
      }
      let written = 0
      await refuses('store.disk-full', async () => {
        for (; written < 1000; written += 1) await write(written)
      })
      assert.ok(written > 0 && written < 100)
      await store.putIf('small', 1, 0).catch((error) => assert.ok(isSteadError(error) && error.retry === 'later'))
      const full = await store.list('')
      assert.deepEqual(full.entries.filter(({ key }) => key !== 'small').length, written * 2)
      rmSync(ballast)
      assert.deepEqual(await write(written), { committed: true, revision: full.revision + 1 })
      await store.close()
      await using again = await openSqliteStore({ path })
      assert.equal((await again.list('')).revision, full.revision + 1)
    } finally {
      execFileSync('umount', [disk])
    }
  })

  const strace = needsAll(needsFile('/usr/bin/strace', 'install the package strace'), needsRoot())
  test('every commit is forced to the disk, and commits of one turn share it', { skip: strace }, async () => {
    await using place = await temporary()
    const count = (body: string): number => {
      const trace = join(place.folder, 'trace')
      const traced = ['-f', '-qq', '-e', 'trace=fsync,fdatasync', '-o', trace, process.execPath]
      const run = spawnSync('/usr/bin/strace', [...traced, ...program(place.path, `${body}; await store.close()`)], {
        encoding: 'utf8',
      })
      assert.equal(run.status, 0, run.stderr)
      return readFileSync(trace, 'utf8')
        .split('\n')
        .filter((line) => /\bf(?:data)?sync\(/.test(line)).length
    }
    await filled(place.path)
    const base = count('')
    const single = count(`for (let i = 0; i < 30; i += 1) await store.putIf('single/' + i, i, 0)`)
    const together = count(
      `await Promise.all(Array.from({ length: 300 }, (_, i) => store.putIf('together/' + i, i, 0)))`,
    )
    assert.ok(single >= base + 30, `30 commits made ${single - base} more syncs than opening and closing`)
    assert.ok(together < single, `300 commits of one turn made ${together} syncs, 30 one by one ${single}`)
  })
})
