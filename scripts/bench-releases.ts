/**
 * What data costs a release: a checkpoint of the domain under load, going back to it, and the same with the tools that people
 * use, on the same data in the same run. Going back is here what the data needs of it (a copy made live, the server stopped
 * and started); holding requests and restarting services come on top, and are measured where there are some.
 *
 *     scripts/node scripts/bench-releases.ts [sizes in MB, default 100 1000] [--install] [--alone]
 *
 * Needs Linux, root and btrfs-progs; the peers need Debian's postgresql-15 and pgbackrest, which `--install` installs and
 * `--alone` leaves out. Prints Markdown; decides nothing. About four minutes for each GB.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { sleep, systemClock } from '../src/base/index.ts'
import { btrfsDriver } from '../src/domain/index.ts'
import type { Domain } from '../src/domain/index.ts'
import { Cleanup, initdb, Server, socketDirectory, unpackPostgres } from './bench-domain-rig.ts'
import { audit, backrest, branchesOf, fill, Load, missingForPeers, ownDirectory, timed } from './bench-releases-rig.ts'

const checkpoints = 20
const returns = 5
const rounds = 3
const roundMs = 8000
const debianBin = '/usr/lib/postgresql/15/bin'
const settings = { max_wal_size: '512MB', max_connections: '40' }

function say(line = ''): void {
  process.stdout.write(`${line}\n`)
}

function figures(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number): string =>
    (sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0).toFixed(0)
  return `median ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms`
}

async function clocked(work: () => Promise<unknown>): Promise<number> {
  const startMs = systemClock.monotonicMs()
  await work()
  return systemClock.monotonicMs() - startMs
}

interface Bench {
  readonly bin: string
  readonly work: string
  readonly sockets: string
  readonly branches: number
  readonly cleanup: Cleanup
}

async function running({ bin, sockets, cleanup }: Bench, data: string, port: number, more = {}): Promise<Server> {
  // A copy of a running server's directory has the lock of that server.
  rmSync(join(data, 'postmaster.pid'), { force: true })
  const server = new Server(bin, data, sockets, port, { ...settings, ...more })
  cleanup.push(() => server.stop('SIGQUIT'))
  if (!(await server.ready())) throw new Error(`PostgreSQL on ${data}: ${server.complaint}`)
  return server
}

async function checkpointsUnderLoad(bench: Bench, domain: Domain, server: Server): Promise<void> {
  const load = await Load.start(server, bench.branches)
  await sleep(systemClock, 1000)
  const tookMs: number[] = []
  let stallMs = 0
  let calmMs = 0
  for (let number = 0; number < checkpoints; number += 1) {
    const calmFromMs = systemClock.monotonicMs()
    await sleep(systemClock, 500)
    const fromMs = systemClock.monotonicMs()
    await domain.checkpoint(`load-${number}`)
    const toMs = systemClock.monotonicMs()
    tookMs.push(toMs - fromMs)
    // A transaction that the checkpoint holds up may end after it.
    await sleep(systemClock, 200)
    stallMs = Math.max(stallMs, load.longestMs(fromMs, toMs))
    calmMs = Math.max(calmMs, load.longestWithinMs(calmFromMs, fromMs))
  }
  await load.stop()
  const { rows, sound } = await audit(server)
  say(`| checkpoint of the domain under load (${checkpoints}) | ${figures(tookMs)} |`)
  say(
    `| longest wait of a client, over a checkpoint / between them | ${stallMs.toFixed(0)} ms / ${calmMs.toFixed(0)} ms |`,
  )
  say(
    `| transactions failed; lost | ${load.failures.length}; ${load.committed - rows}${sound ? '' : ', AND THE BALANCES ARE WRONG'} |`,
  )
  for (let number = 0; number < checkpoints; number += 1) await domain.delete(`load-${number}`)
}

async function goingBack(bench: Bench, domain: Domain, first: Server): Promise<Server> {
  const parts = { clone: [] as number[], stop: [] as number[], swap: [] as number[], start: [] as number[] }
  const totals: number[] = []
  let server = first
  let right = true
  for (let number = 0; number < returns; number += 1) {
    const atCheckpoint = await audit(server)
    // As a release does it: the log that is to be replayed begins here.
    await server.query('checkpoint')
    await domain.checkpoint(`release-${number}`)
    const load = await Load.start(server, bench.branches)
    await sleep(systemClock, 2000)
    const startMs = systemClock.monotonicMs()
    parts.clone.push(await clocked(() => domain.clone(`back-${number}`, `release-${number}`)))
    load.abandon()
    // As the platform ends what is left behind: at once, without a checkpoint of its own.
    parts.stop.push(await clocked(() => server.stop('SIGQUIT')))
    parts.swap.push(await clocked(() => domain.swap(`back-${number}`, `branch-${number}`, domain.generation)))
    parts.start.push(
      await clocked(async () => {
        server = await running(bench, join(domain.path, 'data'), 6000)
      }),
    )
    totals.push(systemClock.monotonicMs() - startMs)
    await load.stop()
    const now = await audit(server)
    right &&= now.sound && now.rows === atCheckpoint.rows
  }
  for (let number = 0; number < returns; number += 1)
    for (const kind of ['branch', 'release']) await domain.delete(`${kind}-${number}`)
  say(`| going back under load, from the command to an answer of PostgreSQL (${returns}) | ${figures(totals)} |`)
  const whole = (values: readonly number[]): string =>
    `${(values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0).toFixed(0)} (${Math.max(...values).toFixed(0)})`
  const each = Object.entries(parts).map(([name, values]) => `${name} ${whole(values)}`)
  say(`| of that, median (longest), in ms | ${each.join(', ')} |`)
  say(`| the data is the checkpoint's | ${right ? 'yes, each time' : 'NO'} |`)
  return server
}

async function throughput(bench: Bench, inDomain: Server, bare: Server): Promise<void> {
  const shares: number[] = []
  const rates: { domain: number[]; bare: number[] } = { domain: [], bare: [] }
  for (let round = 0; round < rounds; round += 1) {
    const rate = async (server: Server): Promise<number> => {
      await server.query('checkpoint')
      const load = await Load.start(server, bench.branches)
      await sleep(systemClock, roundMs)
      await load.stop()
      return (load.committed * 1000) / roundMs
    }
    const [domainRate, bareRate] = [await rate(inDomain), await rate(bare)]
    rates.domain.push(domainRate)
    rates.bare.push(bareRate)
    shares.push(domainRate / bareRate)
  }
  const median = (values: readonly number[]): number =>
    values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
  say(
    `| throughput in the domain, of the bare disk's (${rounds} rounds by turns) | ${median(shares).toFixed(2)} (${median(rates.domain).toFixed(0)} of ${median(rates.bare).toFixed(0)} tx/s) |`,
  )
}

async function peers(bench: Bench, bareData: string, first: Server): Promise<void> {
  const { bin, work, sockets, branches } = bench
  const at = ['-h', sockets, '-p', '6001', '-U', 'postgres'] as const
  const out = ownDirectory(join(work, 'out'))
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`
  const underLoad = async (server: Server, step: () => Promise<number>): Promise<number> => {
    const load = await Load.start(server, branches)
    try {
      return await step()
    } finally {
      await load.stop()
    }
  }
  say(`| **peers, under the same load** | **to make a copy; to be serving from it** |`)
  const dumpMs = await underLoad(first, () =>
    timed([join(bin, 'pg_dump'), ...at, '-Fc', '-f', join(out, 'dump'), 'postgres'], out),
  )
  await first.query('create database restored')
  const restoreMs = await timed([join(bin, 'pg_restore'), ...at, '-j', '2', '-d', 'restored', join(out, 'dump')], out)
  await first.query('drop database restored')
  rmSync(join(out, 'dump'))
  say(`| pg_dump -Fc; pg_restore -j2 into an empty database | ${seconds(dumpMs)}; ${seconds(restoreMs)} |`)

  const base = join(out, 'base')
  const baseMs = await underLoad(first, () => timed([join(bin, 'pg_basebackup'), ...at, '-D', base, '-c', 'fast'], out))
  const baseBackMs = await clocked(async () => (await running(bench, base, 6002)).stop('SIGQUIT'))
  rmSync(base, { recursive: true })
  say(`| pg_basebackup; start on it, where it lies on the right disk | ${seconds(baseMs)}; ${seconds(baseBackMs)} |`)

  await first.stop()
  const tool = backrest(work, bareData, sockets, 6001)
  const archive = [...tool, 'archive-push', '%p'].join(' ')
  const archiving = await running(bench, bareData, 6001, { archive_mode: 'on', archive_command: archive })
  await timed([...tool, 'stanza-create'], out)
  const fullMs = await underLoad(archiving, () => timed([...tool, '--type=full', 'backup'], out))
  const incrementMs = await underLoad(archiving, () => timed([...tool, '--type=incr', 'backup'], out))
  await archiving.query('select pg_switch_wal()')
  await archiving.stop()
  const restored = ownDirectory(join(out, 'restored'))
  chmodSync(restored, 0o700)
  const backMs = await clocked(async () => {
    await timed([...tool, `--pg1-path=${restored}`, 'restore'], out)
    await (await running(bench, restored, 6002)).stop('SIGQUIT')
  })
  say(
    `| pgBackRest full, then incremental; restore and start | ${seconds(fullMs)}, ${seconds(incrementMs)}; ${seconds(backMs)} |`,
  )
}

async function measure(megabytes: number): Promise<void> {
  await using cleanup = new Cleanup()
  const work = mkdtempSync(join(tmpdir(), 'stead-bench-releases-'))
  chmodSync(work, 0o755)
  cleanup.push(() => rmSync(work, { recursive: true, force: true }))
  const debian = existsSync(join(debianBin, 'postgres'))
  const bin = debian ? debianBin : unpackPostgres(work)
  const bench = { bin, work, sockets: socketDirectory(work), branches: branchesOf(megabytes), cleanup }
  const driver = btrfsDriver({ clock: systemClock, reserveBytes: () => 0 })
  const root = join(work, 'domain')
  const sizeBytes = (megabytes * 2 + 4000) * 1e6
  const domain = await driver.open({ id: 'bench', root, home: 'here', sizeBytes })
  cleanup.push(() => driver.destroy(root))
  cleanup.push(() => domain.close())
  chmodSync(root, 0o755)
  initdb(bin, join(domain.path, 'data'), 'nothing')
  const first = await running(bench, join(domain.path, 'data'), 6000)
  process.stderr.write(`${megabytes} MB: filling ...\n`)
  await fill(first, bench.branches)
  const [size] = await first.query('select pg_database_size(current_database())::float8 / 1e6 as megabytes')
  const server = String((await first.query('show server_version'))[0]?.['server_version'])
  say(`\n### ${Number(size?.['megabytes']).toFixed(0)} MB of data (scale ${bench.branches}), PostgreSQL ${server}\n`)
  say('| what | figure |\n|---|---|')
  await checkpointsUnderLoad(bench, domain, first)
  const inDomain = await goingBack(bench, domain, first)
  const bareData = join(work, 'bare')
  initdb(bin, bareData, 'nothing')
  const bare = await running(bench, bareData, 6001)
  await fill(bare, bench.branches)
  await throughput(bench, inDomain, bare)
  await inDomain.stop('SIGQUIT')
  if (process.argv.includes('--alone')) return
  const missing = missingForPeers(bin)
  if (missing === null) await peers(bench, bareData, bare)
  else say(`| peers | **SKIPPED: needs ${missing}; \`--install\` installs it** |`)
}

const options = process.argv.slice(2)
if (options.includes('--install') && missingForPeers(debianBin) !== null)
  execFileSync('apt-get', ['install', '--yes', '--no-install-recommends', 'postgresql-15', 'pgbackrest'], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  })
const sizes = options.filter((option) => /^\d+$/.test(option)).map(Number)
const kernel = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim()
say(
  `${cpus().length} × ${cpus()[0]?.model ?? '?'}, Linux ${kernel}, load ${loadavg()[0]?.toFixed(1)} at the start, 4 clients`,
)
for (const megabytes of sizes.length > 0 ? sizes : [100, 1000]) await measure(megabytes)
