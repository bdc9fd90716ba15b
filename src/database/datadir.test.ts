/** Data directories that are not as they should be: another version, damaged, full, in use, not starting. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { needsRoot } from '../../test/needs.ts'
import { isSteadError } from '../base/index.ts'
import type { ProviderContext } from '../provider/index.ts'
import { makeTestPostgres } from './conformance.ts'
import type { TestPostgres } from './conformance.ts'

const memoryBytes = 128 * 1024 * 1024

suite('data directories that are not as they should be', () => {
  const shared: { postgres?: TestPostgres; copies: number } = { copies: 0 }
  const postgres = (): TestPostgres => {
    assert.ok(shared.postgres !== undefined)
    return shared.postgres
  }
  /** A copy of the data of a stopped server, and a context for it. */
  const copyOfData = async (): Promise<ProviderContext> => {
    const dataDir = join(postgres().host.dir, `copy-${shared.copies++}`)
    await postgres().host.copy(join(postgres().host.dir, 'stopped'), dataDir)
    return { ...postgres().resource.context, dataDir }
  }
  before(async () => {
    shared.postgres = await makeTestPostgres()
    const { provider, resource, host } = shared.postgres
    await resource.start()
    await provider.prepare(resource.context)
    await resource.stop()
    await host.copy(resource.context.dataDir, join(host.dir, 'stopped'))
    await resource.start()
  })
  after(() => shared.postgres?.[Symbol.asyncDispose]())

  test('another major version is refused with both versions, and left as it is', async () => {
    const context = await copyOfData()
    const versionFile = join(context.dataDir, 'pgdata', 'PG_VERSION')
    const settingsFile = join(context.dataDir, 'pgdata', 'stead.conf')
    const version = (await readFile(versionFile, 'utf8')).trim()
    await writeFile(settingsFile, '# untouched')
    const other = version === '18' ? '15' : '18'
    const { provider } = postgres()
    await assert.rejects(provider.provision({ ...context, config: { version: other, memoryBytes } }), {
      code: 'database.version-mismatch',
      message: `database db has data of PostgreSQL ${version}, but the app asks for ${other}`,
    })
    await writeFile(versionFile, '12\n')
    await assert.rejects(provider.provision(context), { code: 'database.binaries-missing', message: /PostgreSQL 12/ })
    assert.equal(await readFile(settingsFile, 'utf8'), '# untouched')
  })

  test('missing files are damage, told by name', async () => {
    const context = await copyOfData()
    const pgdata = join(context.dataDir, 'pgdata')
    await rm(join(pgdata, 'global', 'pg_control'))
    await rm(join(pgdata, 'pg_xact'), { recursive: true })
    await assert.rejects(postgres().provider.provision(context), {
      code: 'database.damaged',
      message: 'the data of database db is damaged: global/pg_control, pg_xact missing',
    })
    const emptied = await copyOfData()
    await truncate(join(emptied.dataDir, 'pgdata', 'PG_VERSION'), 0)
    await assert.rejects(postgres().provider.provision(emptied), { code: 'database.damaged', message: /PG_VERSION/ })
  })

  test('a server that ends at once: its last lines are in the error', async () => {
    const context = await copyOfData()
    await truncate(join(context.dataDir, 'pgdata', 'global', 'pg_control'), 100)
    const socketDir = join(postgres().host.dir, 'ends')
    await postgres().host.makeDir(socketDir)
    const server = await postgres().provider.provision({ ...context, socketDir })
    assert.ok(server !== null)
    const started = postgres().host.start(server)
    await started.ended
    const watched = { ...context, socketDir, serverOutput: () => Promise.resolve(started.output()) }
    await assert.rejects(postgres().provider.ready(watched, 300), {
      code: 'database.not-ready',
      retry: 'later',
      hint: /pg_control/,
    })
  })

  test('in a comparison a server that ends is not waited for', async () => {
    const [before, after] = [await copyOfData(), await copyOfData()]
    await truncate(join(after.dataDir, 'pgdata', 'global', 'pg_control'), 100)
    await assert.rejects(postgres().provider.diff(before, before.dataDir, after.dataDir), {
      code: 'database.not-ready',
      hint: /pg_control/,
    })
  })

  test('a server that does not answer: the wait ends', async () => {
    const { provider, resource } = postgres()
    await using _frozen = await resource.process().freeze()
    await assert.rejects(provider.ready(resource.context, 300), { code: 'database.not-ready', retry: 'later' })
  })

  test('a wrong administrator password is told at once', async () => {
    const { provider, resource } = postgres()
    await assert.rejects(provider.ready({ ...resource.context, adminPassword: 'wrong' }, 600_000), {
      code: 'database.not-ready',
      retry: 'never',
      message: /password authentication failed/,
    })
  })
})

test('a socket path that is too long is refused before anything runs', async () => {
  await using postgres = await makeTestPostgres()
  const { provider, resource } = postgres
  const ran: string[] = []
  const context = {
    ...resource.context,
    socketDir: `/tmp/${'x'.repeat(100)}`,
    run: (program: Parameters<typeof resource.context.run>[0]) => {
      ran.push(program.argv.join(' '))
      return resource.context.run(program)
    },
  }
  await assert.rejects(provider.provision(context), { code: 'database.socket-path-too-long' })
  assert.ok(!ran.some((argv) => argv.includes('initdb')))
})

test(
  'a full disk: making the data fails with the words of the program, and works when there is room',
  { skip: needsRoot() },
  async () => {
    await using postgres = await makeTestPostgres()
    const { provider, resource } = postgres
    await using disk = await smallDisk(postgres, 16)
    await assert.rejects(provider.provision(resource.context), (error) => {
      assert.ok(isSteadError(error))
      assert.equal(error.code, 'database.program-failed')
      assert.match(error.hint ?? '', /No space left on device/)
      return true
    })
    await disk.resize(256)
    await resource.start()
    await resource.process().kill()
  },
)

test(
  'a full disk under a running server: what was acknowledged is there when there is room',
  { skip: needsRoot() },
  async () => {
    await using postgres = await makeTestPostgres({ ownsSchema: true })
    const { provider, resource } = postgres
    await using disk = await smallDisk(postgres, 72)
    await resource.start()
    let acknowledged = 0
    await postgres.asConsumer('web', async (client) => {
      await client.query('create table a (b int, c text)')
      await assert.rejects(async () => {
        for (; acknowledged < 1_000; acknowledged++) {
          await client.query(
            `insert into a values ($1, (select string_agg(gen_random_uuid()::text, '') from generate_series(1, 20000)))`,
            [acknowledged],
          )
        }
      }, /No space left on device|terminat|crash/)
    })
    await resource.process().kill()
    await disk.resize(256)
    await provider.recover(resource.context)
    await resource.start()
    const [row] = await postgres.admin<{ count: number }>('select count(*)::int as count from a')
    assert.ok(row !== undefined && row.count >= acknowledged && acknowledged > 0)
    await resource.process().kill()
  },
)

/** A disk of a few megabytes under the data directory; gone when disposed. */
async function smallDisk(
  { host, resource }: TestPostgres,
  mebibytes: number,
): Promise<AsyncDisposable & { resize(mebibytes: number): Promise<void> }> {
  const { dataDir } = resource.context
  const run = (command: string, ...args: readonly string[]): void => {
    const result = spawnSync(command, [...args], { encoding: 'utf8' })
    assert.equal(result.status, 0, result.stderr)
  }
  assert.ok(dataDir.startsWith(host.dir))
  run('mount', '-t', 'tmpfs', '-o', `size=${mebibytes}m,uid=65534,gid=65534,mode=700`, 'none', dataDir)
  return {
    resize: (to) => Promise.resolve(run('mount', '-o', `remount,size=${to}m`, dataDir)),
    async [Symbol.asyncDispose]() {
      await resource[Symbol.asyncDispose]()
      run('umount', '--lazy', dataDir)
    },
  }
}
