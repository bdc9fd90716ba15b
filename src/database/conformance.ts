/**
 * The suite for drivers of `PostgresBinaries`, and what tests of this room share: a place for a copy of the binaries, and
 * a client that knows the server only by its binding.
 */
import assert from 'node:assert/strict'
import { copyFile, link, mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { test } from 'node:test'
import { Client } from 'pg'
import { UndoStack } from '../base/index.ts'
import type { Json } from '../base/index.ts'
import { makeTestHost, makeTestResource } from '../provider/conformance.ts'
import type { TestClient, TestHost, TestResource } from '../provider/conformance.ts'
import type { Binding, Provider } from '../provider/index.ts'
import type { Materialise, PostgresBinaries } from './binaries.ts'
import { npmBinaries } from './drivers/npm-binaries.ts'
import { systemBinaries } from './drivers/system-binaries.ts'
import { namesOf } from './names.ts'
import { defaultPort } from './programs.ts'
import { postgresProvider } from './provider.ts'
import { asAdmin } from './server.ts'
import type { Server } from './server.ts'

/** Puts the binaries into the host's directory, as hard links where that works; they go when the host goes. */
export function materialiseInto(host: TestHost): Materialise {
  let number = 0
  return async (sourceDir, links) => {
    const copy = join(host.dir, `binaries-${number++}`)
    await mkdir(copy)
    for (const entry of await readdir(sourceDir, { recursive: true, withFileTypes: true })) {
      const from = join(entry.parentPath, entry.name)
      const to = join(copy, relative(sourceDir, from))
      if (entry.isDirectory()) await mkdir(to)
      else await link(from, to).catch(() => copyFile(from, to))
    }
    for (const { path, target } of links) await symlink(target, join(copy, path))
    return copy
  }
}

/** A consumer of PostgreSQL that reads and writes the table `items (id integer primary key)`. */
export async function connectClient(binding: Binding): Promise<TestClient> {
  const client = new Client({ connectionString: binding.env['DATABASE_URL'], connectionTimeoutMillis: 30_000 })
  client.on('error', () => undefined)
  try {
    await client.connect()
  } catch (error) {
    await client.end()
    throw error
  }
  return {
    async write(item) {
      await client.query('insert into items (id) values ($1)', [item])
    },
    async items() {
      return (await client.query<{ id: number }>('select id from items order by id')).rows.map((row) => row.id)
    },
    [Symbol.asyncDispose]: () => client.end(),
  }
}

/** Registers the suite for a driver: what it finds is a server that can be made, started and asked. */
export function binariesConformance(
  name: string,
  find: (materialise: Materialise) => Promise<readonly PostgresBinaries[]>,
  skip: string | false = false,
): void {
  test(
    `binaries ${name}: each installation makes a data directory, starts and says its version`,
    { skip },
    async () => {
      await using host = await makeTestHost()
      const found = await find(materialiseInto(host))
      assert.ok(found.length > 0, 'it found nothing')
      for (const [number, binaries] of found.entries()) {
        const provider = postgresProvider({ binaries: [binaries] })
        const config = { version: binaries.version, memoryBytes: 128 * 1024 * 1024 }
        await using resource = await makeTestResource(host, { provider, config, filesDir: null }, number)
        await resource.start()
        const { socketDir, adminPassword } = resource.context
        const [row] = await asAdmin(
          { name: 'db', socketDir, port: defaultPort, adminPassword },
          'postgres',
          (session) =>
            session.query<{ version: string; checksums: string; fsync: string }>(
              `select current_setting('server_version') as version, current_setting('data_checksums') as checksums,
             current_setting('fsync') as fsync`,
            ),
        )
        assert.match(row?.version ?? '', new RegExp(`^${binaries.version}\\b`))
        assert.deepEqual([row?.checksums, row?.fsync], ['on', 'on'])
      }
    },
  )
}

/** A PostgreSQL for tests: a host, the provider with what is there of binaries, and one resource, not started. */
export interface TestPostgres extends AsyncDisposable {
  readonly host: TestHost
  readonly binaries: readonly PostgresBinaries[]
  readonly provider: Provider
  readonly resource: TestResource
  /** The administrator's way in. */
  readonly server: Server
  /** Replaces the migration files. */
  migrations(files: Readonly<Record<string, string | Uint8Array>>): Promise<void>
  /** Copies the data of the running server as a snapshot does, and answers where the copy is. */
  checkpoint(name: string): Promise<string>
  /** Runs a statement as administrator in the app's database. */
  admin<Row extends Record<string, unknown>>(text: string): Promise<readonly Row[]>
  /** Lets a consumer in; the session is open until the work ends. */
  asConsumer<T>(consumer: string, work: (client: Client) => Promise<T>): Promise<T>
}

/** Makes a PostgreSQL for tests; with `ownsSchema` the app has no migrations. */
export async function makeTestPostgres(
  options: {
    readonly config?: Json
    readonly ownsSchema?: boolean
    readonly lockTimeoutMs?: number
    readonly copyTimeoutMs?: number
  } = {},
): Promise<TestPostgres> {
  await using undo = new UndoStack()
  const host = await makeTestHost()
  undo.push('the host', () => host[Symbol.asyncDispose]())
  const binaries = [...(await npmBinaries(materialiseInto(host))), ...(await systemBinaries())]
  const provider = postgresProvider({
    binaries,
    lockTimeoutMs: options.lockTimeoutMs ?? 5_000,
    copyTimeoutMs: options.copyTimeoutMs ?? 600_000,
  })
  const migrationsDir = join(host.dir, 'migrations')
  await mkdir(migrationsDir)
  const filesDir = options.ownsSchema === true ? null : migrationsDir
  const config = options.config ?? { memoryBytes: 128 * 1024 * 1024 }
  const resource = await makeTestResource(host, { provider, config, filesDir }, 1)
  const { name, socketDir, adminPassword, app } = resource.context
  const server = { name, socketDir, port: defaultPort, adminPassword }
  undo.commit()
  return {
    host,
    binaries,
    provider,
    resource,
    server,
    async migrations(files) {
      await rm(migrationsDir, { recursive: true })
      await mkdir(migrationsDir)
      for (const [file, text] of Object.entries(files)) await writeFile(join(migrationsDir, file), text)
    },
    async checkpoint(name) {
      const path = join(host.dir, name)
      await using _rest = await provider.quiesce(resource.context)
      await using _frozen = await resource.process().freeze()
      await host.copy(resource.context.dataDir, path)
      return path
    },
    admin: (text) => asAdmin(server, namesOf(app).database, (session) => session.query(text)),
    async asConsumer(consumer, work) {
      const grant = resource.grantFor(consumer)
      await provider.grant(resource.context, grant)
      const { env } = await resource.bind(grant)
      const client = new Client({ connectionString: env['DATABASE_URL'], connectionTimeoutMillis: 30_000 })
      client.on('error', () => undefined)
      try {
        await client.connect()
        return await work(client)
      } finally {
        await client.end()
      }
    },
    async [Symbol.asyncDispose]() {
      await resource[Symbol.asyncDispose]()
      await host[Symbol.asyncDispose]()
    },
  }
}
