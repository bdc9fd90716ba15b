/**
 * The embedded S3 server beside others in the same run, on the same disk, through the same client: objects of 1 KB, 1 MB and
 * 100 MB, several at once, and listings of many keys. Servers come from `scripts/object-servers.ts`; one that is not in its
 * cache is left out. Prints one table with how each keeps what it has answered and how the embedded server stands beside the
 * fastest of those that keep it as well; decides nothing. STEAD_BENCH_KEYS sets how many keys are listed, STEAD_BENCH_SECONDS
 * how long each figure is taken, and names of servers as arguments choose some.
 */
import { messageOf } from '../src/base/index.ts'
import { makeS3Bucket, openS3Store } from '../src/objects/index.ts'
import type { ObjectStore } from '../src/objects/index.ts'
import { embeddedServer, objectServers, startObjectServer, syncedSeaweed } from './object-servers.ts'
import type { ObjectServer, RunningObjectServer } from './object-servers.ts'

const budgetMs = Number(process.env['STEAD_BENCH_SECONDS'] ?? 3) * 1000
const listedKeys = Number(process.env['STEAD_BENCH_KEYS'] ?? 100_000)
/** A server that cannot write so many keys in that time lists those it has. */
const fillMs = 120_000
const keysPerFolder = 100
const atOnce = 16
const pieceBytes = 4_000_000
const sizes = [
  { name: '1 KB', bytes: 1000, countMax: 50_000 },
  { name: '1 MB', bytes: 1_000_000, countMax: 2000 },
  { name: '100 MB', bytes: 100_000_000, countMax: 16 },
]

/** One figure of one server: how it is shown, and what is compared; nothing where there is nothing to compare. */
interface Figure {
  readonly what: string
  readonly shown: string
  readonly perSecond?: number
}

/** How many a second, and how many in a second of the server's processors, which what else the machine does changes less. */
interface Rate {
  readonly perSecond: number
  readonly perCpuSecond: number
}

/** Calls `work` with rising numbers, so many at once, until time or numbers run out. */
async function rate(
  { cpuMs }: Pick<RunningObjectServer, 'cpuMs'>,
  countMax: number,
  ms: number,
  work: (number: number) => Promise<unknown>,
): Promise<Rate> {
  let next = 0
  const cpuStartMs = cpuMs()
  const startMs = performance.now()
  const lane = async (): Promise<void> => {
    while (next < countMax && performance.now() - startMs < ms) {
      next += 1
      await work(next)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, lane))
  const perSecond = (next * 1000) / (performance.now() - startMs)
  return { perSecond, perCpuSecond: (next * 1000) / (cpuMs() - cpuStartMs) }
}

/** Bytes that differ from object to object, so that no store can take two for one. */
function contentOf(number: number, bytes: number): Buffer | AsyncIterable<Uint8Array> {
  const piece = (size: number, at: number): Buffer => {
    const content = Buffer.alloc(size, 'stead')
    content.writeDoubleLE(number + at / 1e9, 0)
    return content
  }
  if (bytes <= pieceBytes) return piece(bytes, 0)
  return (async function* () {
    for (let at = 0; at < bytes; at += pieceBytes) yield piece(Math.min(pieceBytes, bytes - at), at)
  })()
}

async function readWhole(store: ObjectStore, key: string): Promise<void> {
  const read = await store.get(key)
  let bytes = 0
  for await (const piece of read?.body ?? []) bytes += piece.length
  if (bytes !== read?.bytes) throw new Error(`${key} came with ${bytes} bytes`)
}

/** Objects of one size, written and read: how many a second. */
async function measureSize(
  server: RunningObjectServer,
  store: ObjectStore,
  name: string,
  bytes: number,
  countMax: number,
): Promise<readonly [Rate, Rate]> {
  let written = 0
  const put = await rate(server, countMax, budgetMs, async (number) => {
    await store.put(`${name}/${number}`, contentOf(number, bytes))
    written = Math.max(written, number)
  })
  const there = Math.max(written - atOnce, 1)
  const get = await rate(server, countMax, budgetMs, (number) => readWhole(store, `${name}/${1 + (number % there)}`))
  return [put, get]
}

const failed: Rate = { perSecond: Number.NaN, perCpuSecond: Number.NaN }

function transfer(what: string, { perSecond, perCpuSecond }: Rate, bytes: number): readonly Figure[] {
  const shown = (rate: number): string => {
    if (!Number.isFinite(rate)) return '-'
    return bytes < 100_000 ? `${rate.toFixed(0)}/s` : `${((rate * bytes) / 1e6).toFixed(0)} MB/s`
  }
  return [
    { what, shown: shown(perSecond), perSecond },
    { what: `${what}, of its CPU`, shown: shown(perCpuSecond), perSecond: perCpuSecond },
  ]
}

/** Goes through all pages; how many objects and groups there were. */
async function listAll(store: ObjectStore, delimiter: string): Promise<number> {
  let shown = 0
  let after: string | undefined
  do {
    const page = await store.list({ prefix: 'list/', delimiter, ...(after === undefined ? {} : { after }) })
    shown += page.objects.length + page.prefixes.length
    after = page.next
  } while (after !== undefined)
  return shown
}

async function measureListing(server: RunningObjectServer, store: ObjectStore): Promise<readonly Figure[]> {
  const name = (number: number): string => {
    const folder = Math.floor(number / keysPerFolder)
    return `list/${String(folder).padStart(4, '0')}/${String(number).padStart(6, '0')}`
  }
  await rate(server, listedKeys, fillMs, (number) => store.put(name(number), 'x'))
  const figures: Figure[] = []
  for (const [what, delimiter] of [
    ['LIST, all keys', ''],
    ['LIST, by folder', '/'],
  ] as const) {
    const startMs = performance.now()
    const shown = await listAll(store, delimiter)
    const perSecond = (shown * 1000) / (performance.now() - startMs)
    figures.push({ what, shown: `${perSecond.toFixed(0)}/s of ${shown}`, perSecond })
  }
  return figures
}

async function measure(server: ObjectServer): Promise<readonly Figure[]> {
  await using running = await startObjectServer(server)
  const { endpoint, accessKeyId, secretAccessKey } = running
  const options = { endpoint, accessKeyId, secretAccessKey, bucket: 'bench' }
  await makeS3Bucket(options)
  const all = { putIfAbsent: true, putIfMatch: true, checksums: true, presign: true, paging: true, versions: false }
  await using store = openS3Store({ ...options, capabilities: { ...all, durability: server.durability } })
  const figures: Figure[] = [{ what: 'fsync before the answer', shown: /^[^:]*/.exec(server.keeps)?.[0] ?? '' }]
  for (const { name, bytes, countMax } of sizes) {
    const [put, get] = await measureSize(running, store, name, bytes, countMax).catch((error: unknown) => {
      process.stderr.write(`bench: ${server.name}, ${name}: ${messageOf(error).slice(0, 200)}\n`)
      return [failed, failed] as const
    })
    figures.push(...transfer(`PUT ${name}`, put, bytes), ...transfer(`GET ${name}`, get, bytes))
  }
  return [...figures, ...(await measureListing(running, store))]
}

interface Column {
  readonly server: ObjectServer
  readonly figures: readonly Figure[]
}

/** How the embedded server stands: its figure over the best of others; empty where there is none. */
function ratio(what: string, mine: Column, others: readonly Column[]): string {
  const of = ({ figures }: Column): number => figures.find((figure) => figure.what === what)?.perSecond ?? Number.NaN
  const best = Math.max(...others.map(of).filter((value) => Number.isFinite(value)))
  return Number.isFinite(best) && Number.isFinite(of(mine)) ? (of(mine) / best).toFixed(2) : ''
}

const wanted = process.argv.slice(2)
const columns: Column[] = []
for (const server of [embeddedServer, ...objectServers, syncedSeaweed()]) {
  const chosen = wanted.length === 0 || server === embeddedServer || wanted.includes(server.name)
  if (!server.isHere() || !chosen) continue
  process.stderr.write(`bench: ${server.name} ...\n`)
  try {
    const figures = await measure(server)
    process.stderr.write(`${figures.map(({ what, shown }) => `${what}: ${shown}`).join(', ')}\n`)
    columns.push({ server, figures })
  } catch (error) {
    process.stderr.write(`bench: ${server.name}: ${messageOf(error).slice(0, 300)}\n`)
  }
}
const [mine, ...others] = columns
if (mine === undefined) throw new Error('the embedded server was not measured')
const synced = others.filter(({ server }) => server.durability === 'fsync' || server.keeps.startsWith('contents yes'))
const ceph = others.filter(({ server }) => server.name === 'Ceph RGW')
const table = [
  [
    `${atOnce} at once`,
    ...columns.map(({ server }) => `${server.name} ${server.version}`),
    'over the best that syncs',
    'over Ceph',
    'over the best',
  ],
  ...mine.figures.map(({ what }, index) => [
    what,
    ...columns.map(({ figures }) => figures[index]?.shown ?? ''),
    ratio(what, mine, synced),
    ratio(what, mine, ceph),
    ratio(what, mine, others),
  ]),
]
const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((row) => (row[column] ?? '').length)))
for (const row of table)
  process.stdout.write(`${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}\n`)
