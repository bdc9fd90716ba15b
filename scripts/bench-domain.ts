/**
 * What a domain in a btrfs image costs PostgreSQL, and what happens when a disk is full: the figures of
 * docs/decisions/0002-domain-on-btrfs-image.md. Needs Linux, root, btrfs-progs and pgbench (Debian: postgresql-contrib).
 *
 *     scripts/node scripts/bench-domain.ts commit  what one durable write of 8 kB costs in writes: exact, whatever the load
 *     scripts/node scripts/bench-domain.ts speed   PostgreSQL: about 8 minutes, and noisy on a machine that does more
 *     scripts/node scripts/bench-domain.ts tries   what else might make it faster: about 4 minutes
 *     scripts/node scripts/bench-domain.ts waits   commits that wait for one another, and ext4 in btrfs's place: about 4 minutes
 *     scripts/node scripts/bench-domain.ts full    full images and full hosts: about 2 minutes
 */
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/base/index.ts'
import { type Domain, btrfsDriver, xfsDriver } from '../src/domain/index.ts'
import {
  Cleanup,
  writtenTo,
  Server,
  initdb,
  mountFile,
  mountImage,
  sh,
  socketDirectory,
  unpackPostgres,
} from './bench-domain-rig.ts'

const seconds = 5
const rounds = 4
const scale = 20
const noZeroFill = { wal_init_zero: 'off', wal_recycle: 'off' }
const smallWal = { max_wal_size: '96MB', min_wal_size: '32MB', shared_buffers: '64MB' }
const driver = btrfsDriver({ clock: systemClock, reserveBytes: () => 0 })

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

function spread(values: readonly number[], digits: number): string {
  const [least, most] = [Math.min(...values), Math.max(...values)]
  return `${median(values).toFixed(digits)} (${least.toFixed(digits)}-${most.toFixed(digits)})`
}

interface Place {
  readonly name: string
  readonly data: string
  readonly settings: Readonly<Record<string, string>>
  readonly noCow: 'nothing' | 'wal' | 'all'
  /** The subvolume to take a snapshot of, where there is one. */
  readonly subvolume: string | null
}

/** Makes what places are compared with, and a way to name them. */
function placesIn(
  work: string,
  cleanup: Cleanup,
): {
  readonly raw: (name: string, options: Parameters<typeof mountImage>[1]) => string
  readonly place: (name: string, subvolume: string | null, more?: Partial<Place>) => Place
} {
  return {
    raw(name, options) {
      const live = join(mountImage(join(work, name), options, cleanup), 'live')
      sh('btrfs', 'subvolume', 'create', live)
      return live
    },
    place: (name, subvolume, more = {}) => ({
      name,
      data: join(subvolume ?? work, name.replaceAll(/\W+/g, '-')),
      settings: {},
      noCow: 'nothing',
      subvolume,
      ...more,
    }),
  }
}

type Started = readonly { readonly place: Place; readonly server: Server }[]

async function started(bin: string, sockets: string, places: readonly Place[], cleanup: Cleanup): Promise<Started> {
  const servers: { place: Place; server: Server }[] = []
  for (const [index, place] of places.entries()) {
    initdb(bin, place.data, place.noCow)
    const server = new Server(bin, place.data, sockets, 6000 + index, place.settings)
    cleanup.push(() => server.stop())
    if (!(await server.ready())) throw new Error(`${place.name}: ${server.complaint}`)
    await server.pgbench('-i', '-q', '-s', String(scale))
    servers.push({ place, server })
  }
  return servers
}

/** Loads one after another, round by round, and prints what each did beside the first. */
async function compared(
  servers: Started,
  title: string,
  { clients, times }: { readonly clients: number; readonly times: number },
  before: () => Promise<unknown>,
): Promise<void> {
  const results = servers.map(() => [] as { tps: number; kilobytes: number; writes: number; flushes: number }[])
  for (let round = 0; round < times; round += 1) {
    for (const [index, { place, server }] of servers.entries()) {
      await server.query('checkpoint')
      if (index === 0) await before()
      const start = writtenTo(place.data)
      const tps = await server.pgbench('-c', String(clients), '-j', '2', '-T', String(seconds))
      const end = writtenTo(place.data)
      const each = (of: keyof typeof end): number => (end[of] - start[of]) / (tps * seconds)
      results[index]?.push({ tps, kilobytes: each('kilobytes'), writes: each('writes'), flushes: each('flushes') })
    }
  }
  const bare = results[0] ?? []
  say(`\n${title} (${times} rounds of ${seconds} s, ${clients} connections, scale ${scale}; median, least-most)\n`)
  say('| place | tx/s | of the bare disk, in the same round | kB written, writes, flushes a tx |\n|---|---|---|---|')
  for (const [index, { place }] of servers.entries()) {
    const runs = results[index] ?? []
    const shares = runs.map(({ tps }, round) => tps / (bare[round]?.tps ?? Number.NaN))
    const cells = [
      spread(
        runs.map((run) => run.tps),
        0,
      ),
      spread(shares, 2),
    ]
    const io = (['kilobytes', 'writes', 'flushes'] as const).map((of) => median(runs.map((run) => run[of])).toFixed(1))
    say(`| ${[place.name, ...cells, io.join(', ')].join(' | ')} |`)
  }
}

async function speed(work: string, bin: string, sockets: string, cleanup: Cleanup): Promise<void> {
  const sizeBytes = 3 * 2 ** 30
  const { raw, place } = placesIn(work, cleanup)
  const domain = await driver.open({ id: 'bench', root: join(work, 'domain'), home: 'here', sizeBytes: 3 * sizeBytes })
  cleanup.push(() => domain.close())
  const tuned = { sizeBytes, sparse: false, directIo: true, mount: 'noatime,nodiscard' }
  const careless = raw('careless', { sizeBytes, sparse: true, directIo: false, mount: 'defaults' })
  const large = raw('large', tuned)
  const single = raw('single', { ...tuned, format: ['--nodesize', '4096', '--metadata', 'single'] })
  const places = [
    place('bare disk', null),
    place('sparse image, all defaults', careless),
    place('tuned, nodes of 16 kB', large),
    place('tuned, one copy of metadata', single),
    place('domain', domain.path),
    place('domain, WAL nocow', domain.path, { noCow: 'wal' }),
    place('domain, all nocow', domain.path, { noCow: 'all' }),
    place('domain, no zero fill', domain.path, { settings: noZeroFill }),
    place('domain, open_datasync', domain.path, { settings: { wal_sync_method: 'open_datasync' } }),
  ]
  const servers = await started(bin, sockets, places, cleanup)
  const how = { clients: 4, times: rounds }
  await compared(servers, 'No snapshot', how, () => Promise.resolve())
  const times: number[] = []
  await compared(servers, 'A snapshot before each round', how, async () => {
    const name = `round-${times.length}`
    const startMs = performance.now()
    await domain.checkpoint(name)
    times.push(performance.now() - startMs)
    for (const live of [careless, large, single])
      sh('btrfs', 'subvolume', 'snapshot', '-r', live, join(live, '..', name))
  })
  say(`\nTaking a checkpoint of the domain: ${spread(times, 0)} ms`)
}

/** What else might make commits in an image cheaper, and the same with more clients, whose commits go to the disk together. */
async function tries(work: string, bin: string, sockets: string, cleanup: Cleanup): Promise<void> {
  const sizeBytes = 2 * 2 ** 30
  const { raw, place } = placesIn(work, cleanup)
  const domain = await driver.open({ id: 'bench', root: join(work, 'domain'), home: 'here', sizeBytes: 2 * sizeBytes })
  cleanup.push(() => domain.close())
  const xfs = await xfsDriver({ clock: systemClock, reserveBytes: () => 0 }).open({
    id: 'xfs',
    root: join(work, 'xfs'),
    home: 'here',
    sizeBytes,
  })
  cleanup.push(() => xfs.close())
  const like = { sizeBytes, sparse: false, directIo: true, mount: 'noatime,nodiscard', format: ['--nodesize', '4096'] }
  const servers = await started(
    bin,
    sockets,
    [
      place('bare disk', null),
      place('domain', domain.path),
      place('domain, wal_compression', domain.path, { settings: { wal_compression: 'on' } }),
      place('image that was written once', raw('written', { ...like, written: true })),
      place('image, cached by the host', raw('cached', { ...like, directIo: false })),
      place('domain on XFS', xfs.path),
    ],
    cleanup,
  )
  for (const clients of [4, 16])
    await compared(servers, 'What else was tried', { clients, times: 3 }, () => Promise.resolve())
}

/** What it brings that commits wait for one another, and what btrfs costs where both it and ext4 are on such a disk. */
async function waits(work: string, bin: string, sockets: string, cleanup: Cleanup): Promise<void> {
  const sizeBytes = 2 * 2 ** 30
  const { raw, place } = placesIn(work, cleanup)
  const domain = await driver.open({ id: 'bench', root: join(work, 'domain'), home: 'here', sizeBytes: 3 * sizeBytes })
  cleanup.push(() => domain.close())
  const once = { sizeBytes, sparse: false, directIo: true, mount: 'noatime,nodiscard' }
  // What btrfs itself costs: both on a disk that is such an image.
  const disk = join(work, 'disk')
  sh('fallocate', '-l', String(sizeBytes), `${disk}.img`)
  sh('mkfs.ext4', '-q', '-E', 'nodiscard', `${disk}.img`)
  mountFile(`${disk}.img`, disk, { directIo: true, mount: 'noatime,nodiscard' }, cleanup)
  // Half of what a flush takes here, as PostgreSQL's manual advises.
  const waiting = { settings: { commit_delay: '500', commit_siblings: '2' } }
  const servers = await started(
    bin,
    sockets,
    [
      place('bare disk', null),
      place('bare disk, commits wait', null, waiting),
      place('domain', domain.path),
      place('domain, commits wait', domain.path, waiting),
      place('domain, WAL nocow', domain.path, { noCow: 'wal' }),
      place('domain, WAL nocow, commits wait', domain.path, { noCow: 'wal', ...waiting }),
      place('ext4 on an image', disk),
      place(
        'metadata once, commits wait',
        raw('once', { ...once, format: ['--nodesize', '4096', '--metadata', 'single'] }),
        waiting,
      ),
    ],
    cleanup,
  )
  await compared(servers, 'Commits that wait', { clients: 4, times: 3 }, () => Promise.resolve())
}

/** Overwrites 8 kB again and again, durable each time, and counts what reaches the device. */
async function commitCost(work: string, cleanup: Cleanup): Promise<void> {
  const times = 300
  const block = Buffer.alloc(8192, 1)
  const formats: readonly { name: string; format: readonly string[]; noCow?: true }[] = [
    { name: 'usual format (nodes of 16 kB, metadata twice)', format: [] },
    { name: 'the same, file nocow', format: [], noCow: true },
    { name: 'nodes of 16 kB, metadata once', format: ['--metadata', 'single'] },
    { name: 'nodes of 4 kB, metadata twice: the domain', format: ['--nodesize', '4096'] },
    { name: 'the same, file nocow', format: ['--nodesize', '4096'], noCow: true },
    { name: 'nodes of 4 kB, metadata once', format: ['--nodesize', '4096', '--metadata', 'single'] },
  ]
  say('\n| format | kB written | writes | flushes |\n|---|---|---|---|')
  for (const [index, { name, format, noCow }] of formats.entries()) {
    const options = { sizeBytes: 512 * 2 ** 20, sparse: false, directIo: true, mount: 'noatime,nodiscard', format }
    const at = mountImage(join(work, `commit-${index}`), options, cleanup)
    if (noCow === true) sh('chattr', '+C', at)
    await using file = await open(join(at, 'file'), 'w')
    for (let n = 0; n < 256; n += 1) await file.write(block)
    await file.sync()
    const start = writtenTo(at)
    for (let n = 0; n < times; n += 1) {
      await file.write(block, 0, block.length, (n % 256) * block.length)
      await file.datasync()
    }
    const end = writtenTo(at)
    const each = (of: keyof typeof end): string => ((end[of] - start[of]) / times).toFixed(1)
    say(`| ${name} | ${each('kilobytes')} | ${each('writes')} | ${each('flushes')} |`)
  }
}

/** Commits rows until the server no longer takes them, or some seconds have gone. Returns what was acknowledged. */
async function commitUntilRefused(
  server: Server,
  forMs: number,
): Promise<{ acknowledged: Set<number>; refusals: number }> {
  const acknowledged = new Set<number>()
  const untilMs = performance.now() + forMs
  let refusals = 0
  let next = 0
  const worker = async (): Promise<void> => {
    const client = await server.connect().catch(() => null)
    if (client === null) return
    while (performance.now() < untilMs && refusals < 40) {
      const id = next++
      try {
        await client.query('insert into acked values ($1, $2)', [id, randomBytes(16_384)])
        acknowledged.add(id)
      } catch {
        refusals += 1
        if ((await client.query('select 1').catch(() => null)) === null) break
      }
    }
    await client.end().catch(() => undefined)
  }
  await Promise.all([worker(), worker(), worker(), worker()])
  return { acknowledged, refusals }
}

async function verdict(server: Server, acknowledged: ReadonlySet<number>): Promise<string> {
  if (!(await server.ready())) return `does not come back: ${server.complaint}`
  const rows = new Set((await server.query('select id from acked')).map((row) => Number(row.id)))
  const lost = [...acknowledged].filter((id) => !rows.has(id)).length
  await server.query('insert into acked values (-1, null)')
  const corrupt = await server.query('select count(*) as n from acked where length(payload) <> 16384')
  return `came back, ${lost} of ${acknowledged.size} acknowledged commits lost, ${String(corrupt[0]?.n)} rows damaged, writable`
}

async function fullImage(work: string, bin: string, sockets: string, cleanup: Cleanup): Promise<void> {
  const options = { id: 'full', root: join(work, 'full'), home: 'here', sizeBytes: 512 * 2 ** 20 }
  let domain: Domain = await driver.open(options)
  cleanup.push(() => domain.close())
  const data = join(domain.path, 'pg')
  initdb(bin, data, 'nothing')
  const first = new Server(bin, data, sockets, 6100, { ...smallWal, ...noZeroFill })
  cleanup.push(() => first.stop())
  if (!(await first.ready())) throw new Error(first.complaint)
  await first.query('create table acked (id bigint, payload bytea)')
  await domain.checkpoint('early')
  const { acknowledged, refusals } = await commitUntilRefused(first, 60_000)
  const { freeBytes } = await domain.usage()
  say(
    `\nFull image of 512 MB: ${acknowledged.size} commits of 16 kB, then ${refusals} refused; ${(freeBytes / 1e6).toFixed(0)} MB said free`,
  )
  say(`- the server: ${first.exit === null ? 'still runs' : `ended (${first.exit})`}; it said: ${first.complaint}`)
  const reading = first.exit === null ? await first.query('select count(*) as n from acked').catch(() => null) : null
  say(`- reading meanwhile: ${reading === null ? 'not possible' : `${String(reading[0]?.n)} rows`}`)
  const tried = await domain.checkpoint('when-full').then(
    () => 'works',
    (error: unknown) => `refused: ${String(error)}`,
  )
  say(`- a checkpoint of the full domain: ${tried}`)
  await first.stop('SIGQUIT')
  await domain.close()
  domain = await driver.open({ ...options, sizeBytes: 1024 * 2 ** 20 })
  const second = new Server(bin, join(domain.path, 'pg'), sockets, 6101, { ...smallWal, ...noZeroFill })
  cleanup.push(() => second.stop())
  say(`- after growing it to 1 GB: ${await verdict(second, acknowledged)}`)
  await second.stop()
}

async function fullHost(
  work: string,
  bin: string,
  sockets: string,
  kind: 'sparse' | 'sparse, direct I/O' | 'domain',
  port: number,
  cleanup: Cleanup,
): Promise<void> {
  const host = join(work, `host-${port}`)
  mkdirSync(host)
  sh('truncate', '-s', '1G', `${host}.img`)
  sh('mkfs.ext4', '-q', '-m', '0', `${host}.img`)
  sh('mount', '-o', 'loop', `${host}.img`, host)
  cleanup.push(() => sh('umount', host))
  const sizeBytes = 700 * 2 ** 20
  const image = { sizeBytes, sparse: true, directIo: kind !== 'sparse', mount: 'noatime' }
  const root = join(host, 'd')
  let domain: Domain | null = null
  if (kind === 'domain') domain = await driver.open({ id: 'host', root, home: 'here', sizeBytes })
  else mountImage(root, image, cleanup)
  cleanup.push(() => domain?.close())
  const data = join(domain?.path ?? root, 'pg')
  initdb(bin, data, 'nothing')
  const first = new Server(bin, data, sockets, port, smallWal)
  cleanup.push(() => first.stop())
  if (!(await first.ready())) throw new Error(first.complaint)
  await first.query('create table acked (id bigint, payload bytea)')
  sh('sync')
  sh('sh', '-c', `dd if=/dev/zero of=${host}/filler bs=1M 2>/dev/null || true; sync`)
  const { acknowledged, refusals } = await commitUntilRefused(first, 8_000)
  say(`\nFull host disk, image ${kind}: ${acknowledged.size} commits of 16 kB in 8 s at most, ${refusals} refused`)
  await new Promise((resolve) => setTimeout(resolve, 2_000))
  const readOnly = sh('findmnt', '-no', 'OPTIONS', '--target', data).startsWith('ro')
  say(
    `- the server: ${first.exit === null ? 'still runs' : `ended (${first.exit})`}; it said: ${first.complaint || 'nothing'}`,
  )
  say(`- the file system inside: ${readOnly ? 'went read-only' : 'writable'}`)
  await first.stop('SIGQUIT')
  rmSync(`${host}/filler`)
  if (domain === null) {
    sh('umount', root)
    try {
      mountFile(`${root}.img`, root, image, cleanup)
    } catch (error) {
      say(`- after making room: the image cannot be mounted any more: ${String(error).split('\n').at(-2) ?? ''}`)
      return
    }
  } else {
    await domain.close()
    domain = await driver.open({ id: 'host', root, home: 'here', sizeBytes })
  }
  const second = new Server(bin, data, sockets, port + 1, smallWal)
  cleanup.push(() => second.stop())
  say(`- after making room: ${await verdict(second, acknowledged)}`)
  await second.stop()
}

/** Whether the host gets blocks back, and so may give them to others, when files inside are deleted. */
async function keepsBlocks(work: string, cleanup: Cleanup): Promise<void> {
  const held = (path: string): string => `${(statSync(path).blocks / 2048).toFixed(0)} MB`
  const fill = (at: string): void => {
    sh(
      'sh',
      '-c',
      `head -c 200M /dev/urandom > ${at}/f; sync -f ${at}; rm ${at}/f; sync -f ${at}; sleep 1; btrfs filesystem sync ${at}`,
    )
  }
  const at = mountImage(
    join(work, 'discard'),
    { sizeBytes: 512 * 2 ** 20, sparse: false, directIo: true, mount: 'noatime,discard' },
    cleanup,
  )
  fill(at)
  const domain = await driver.open({ id: 'keep', root: join(work, 'keep'), home: 'here', sizeBytes: 512 * 2 ** 20 })
  cleanup.push(() => domain.close())
  fill(domain.path)
  say(
    `\nBlocks held of 512 MB after 200 MB were written and deleted: with discard ${held(`${at}.img`)}, domain ${held(join(work, 'keep/image'))}`,
  )
}

const [what = 'speed'] = process.argv.slice(2)
const work = mkdtempSync(join(tmpdir(), 'bench-domain-'))
chmodSync(work, 0o755)
await using cleanup = new Cleanup()
process.once('SIGINT', () => void cleanup[Symbol.asyncDispose]().then(() => process.exit(130)))
cleanup.push(() => rmSync(work, { recursive: true, force: true }))
const bin = unpackPostgres(work)
const sockets = socketDirectory(work)
if (what === 'commit') await commitCost(work, cleanup)
else if (what === 'speed') await speed(work, bin, sockets, cleanup)
else if (what === 'tries') await tries(work, bin, sockets, cleanup)
else if (what === 'waits') await waits(work, bin, sockets, cleanup)
else {
  await keepsBlocks(work, cleanup)
  await fullImage(work, bin, sockets, cleanup)
  await fullHost(work, bin, sockets, 'sparse', 6200, cleanup)
  await fullHost(work, bin, sockets, 'sparse, direct I/O', 6210, cleanup)
  await fullHost(work, bin, sockets, 'domain', 6220, cleanup)
}
