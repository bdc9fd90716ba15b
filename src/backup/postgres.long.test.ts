/**
 * Backups of the real thing: a checkpoint of a domain with a PostgreSQL in it, taken while it works, backed up, restored
 * elsewhere by a drill, started there, and asked for its rows.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, chmodSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { needsAll, needsFile } from '../../test/needs.ts'
import { systemClock, systemRandom } from '../base/index.ts'
import { makeTestPostgres } from '../database/conformance.ts'
import { chooseDomainDriver } from '../domain/index.ts'
import type { ProviderContext } from '../provider/index.ts'
import { writeKey } from './drivers/key-file.ts'
import { openBackups } from './drivers/restic.ts'
import { runDrill } from './drivers/run-drill.ts'
import { parseTarget } from './target.ts'

const skip = needsAll(
  process.platform === 'linux' ? false : 'needs Linux: processes are found under /proc',
  needsFile('/usr/bin/restic', 'apt-get install restic'),
)

test('a database comes back from a backup of a checkpoint, with its rows', { skip }, async (t) => {
  await using undo = new AsyncDisposableStack()
  const work = mkdtempSync(join(tmpdir(), 'stead-backup-pg-'))
  chmodSync(work, 0o711)
  undo.defer(() => rmSync(work, { recursive: true, force: true }))
  const pg = await makeTestPostgres({ ownsSchema: true })
  undo.use(pg)
  const root = join(work, 'domain')
  const driver = await chooseDomainDriver({ root, clock: systemClock })
  const domain = await driver.open({ id: 'shop', root, home: 'here', sizeBytes: 700_000_000 })
  undo.defer(async () => {
    await domain.close()
    await driver.destroy(root)
  })

  /** The server on a data directory; one at a time. */
  const serve = async (dataDir: string, recover: boolean): Promise<AsyncDisposable> => {
    const context: ProviderContext = { ...pg.resource.context, dataDir }
    if (recover) await pg.provider.recover(context)
    const server = await pg.provider.provision(context)
    assert.ok(server)
    const running = await context.serve(server)
    await pg.provider.ready(context, 60_000)
    return running
  }
  const rows = async (): Promise<number> => {
    const [row] = await pg.admin<{ count: string }>('select count(*) as count, sum(length(text)) from orders')
    return Number(row?.count)
  }

  const live = join(domain.path, 'db')
  await pg.host.makeDir(live)
  let server: AsyncDisposable | null = await serve(live, false)
  const checkpoint = async (name: string): Promise<string> => {
    const stops = domain.capabilities.quiesce === 'stop'
    if (stops) await server?.[Symbol.asyncDispose]()
    const copy = await domain.checkpoint(name)
    if (stops) server = await serve(live, false)
    return copy.path
  }
  try {
    await pg.provider.prepare({ ...pg.resource.context, dataDir: live })
    await pg.admin('create table orders (id integer primary key, text text)')
    await pg.admin('insert into orders select n, md5(n::text) from generate_series(1, 100000) n')
    const keyFile = join(work, 'key')
    await writeKey(keyFile, systemRandom)
    const target = parseTarget(join(work, 'disk'))
    const backups = await openBackups({ target, keyFile, clock: systemClock, random: systemRandom })
    await backups.init()
    const of = { app: 'shop', name: 'nightly', checkpoint: 'one', generation: 1, release: 1, atMs: systemClock.nowMs() }
    const first = await backups.backUp(await checkpoint('one'), of)
    await pg.admin('insert into orders select n, md5(n::text) from generate_series(100001, 100500) n')
    const later = { ...of, checkpoint: 'two', atMs: systemClock.nowMs() }
    const second = await backups.backUp(await checkpoint('two'), later)
    t.diagnostic(
      `domain ${driver.name}: ${mb(first.bytes)} in ${first.files} files; first backup adds ${mb(first.addedBytes)}, the second, after 500 rows, ${mb(second.addedBytes)}`,
    )
    assert.ok(second.addedBytes < first.addedBytes / 2)
    await pg.admin('drop table orders')
    await server[Symbol.asyncDispose]()
    server = null

    const proof = await runDrill({
      backups,
      backup: second,
      dir: join(work, 'drill'),
      extraDir: join(work, 'drill-extra'),
      read: 'everything',
      clock: systemClock,
      async prove({ dir }) {
        await using _server = await serve(join(dir, 'db'), true)
        return { checks: [`db: ${await rows()} rows`] }
      },
    })
    assert.equal(proof.failure, null)
    assert.equal(proof.checks.at(-1), 'db: 100500 rows')

    const restored = join(work, 'restored')
    await backups.restore(first.id, restored)
    await using _old = await serve(join(restored, 'db'), true)
    assert.equal(await rows(), 100_000)
  } finally {
    await server?.[Symbol.asyncDispose]()
  }
})

function mb(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}
