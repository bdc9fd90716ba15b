/**
 * The embedded S3 server beside others in the same run, on the same disk, through the same client: objects of 1 KB, 1 MB and
 * 100 MB, several at once, and listings of many keys. Servers come from `scripts/object-servers.ts`; one that is not in its
 * cache is left out. Prints one table with how each keeps what it has answered and how the embedded server stands beside the
 * fastest of those that keep it as well; decides nothing. Names of servers as arguments choose some, STEAD_BENCH_FIGURES some
 * of the figures (`1 KB,LIST`), STEAD_BENCH_SECONDS how long each is taken, STEAD_BENCH_KEYS how many keys are listed. To write
 * the keys takes far longer than to list them: with STEAD_BENCH_HOLD they are not listed before there is a file of that name,
 * which whoever wants the machine to itself for that makes then.
 */
import { existsSync } from 'node:fs'
import { messageOf } from '../src/base/index.ts'
import { makeS3Bucket, openS3Store } from '../src/objects/index.ts'
import type { ObjectStore } from '../src/objects/index.ts'
import { embeddedServer, objectServers, startObjectServer, syncedSeaweed } from './object-servers.ts'
import type { ObjectServer, RunningObjectServer } from './object-servers.ts'

const budgetMs = Number(process.env['STEAD_BENCH_SECONDS'] ?? 3) * 1000
const listedKeys = Number(process.env['STEAD_BENCH_KEYS'] ?? 100_000)
/** A server that cannot write so many keys in that time lists those it has. */
const fillMs = 600_000
const warmUpMs = 60_000
const keysPerFolder = 100
const atOnce = 16
const pieceBytes = 4_000_000
const sizes = [
  { name: '1 KB', bytes: 1000, countMax: 50_000 },
  { name: '1 MB', bytes: 1_000_000, countMax: 2000 },
  { name: '100 MB', bytes: 100_000_000, countMax: 16 },
]

const asked = process.env['STEAD_BENCH_FIGURES']?.split(',')

function isAsked(figure: string): boolean {
  return asked === undefined || asked.includes(figure)
}

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

function figures(what: string, { perSecond, perCpuSecond }: Rate, shown: (rate: number) => string): readonly Figure[] {
  const text = (rate: number): string => (Number.isFinite(rate) ? shown(rate) : '-')
  return [
    { what, shown: text(perSecond), perSecond },
    { what: `${what}, of its CPU`, shown: text(perCpuSecond), perSecond: perCpuSecond },
  ]
}

function transfer(what: string, rate: Rate, bytes: number): readonly Figure[] {
  const shown = (perSecond: number): string =>
    bytes < 100_000 ? `${perSecond.toFixed(0)}/s` : `${((perSecond * bytes) / 1e6).toFixed(0)} MB/s`
  return figures(what, rate, shown)
}

/** A server that runs, and its bucket. */
interface Opened extends AsyncDisposable {
  readonly running: RunningObjectServer
  readonly store: ObjectStore
}

async function opened(server: ObjectServer): Promise<Opened> {
  await using stack = new AsyncDisposableStack()
  const running = stack.use(await startObjectServer(server))
  const { endpoint, accessKeyId, secretAccessKey } = running
  const options = { endpoint, accessKeyId, secretAccessKey, bucket: 'bench' }
  await makeS3Bucket(options)
  const all = { putIfAbsent: true, putIfMatch: true, checksums: true, presign: true, paging: true, versions: false }
  const store = stack.use(openS3Store({ ...options, capabilities: { ...all, durability: server.durability } }))
  const rest = stack.move()
  return { running, store, [Symbol.asyncDispose]: () => rest.disposeAsync() }
}

async function measureSizes(server: ObjectServer): Promise<readonly Figure[]> {
  await using open = await opened(server)
  // What servers make when they are first written to (pools, volumes) takes seconds, and is not what is measured.
  await rate(open.running, atOnce, warmUpMs, (number) => open.store.put(`first/${number}`, contentOf(number, 1000)))
  const found: Figure[] = []
  for (const { name, bytes, countMax } of sizes) {
    if (!isAsked(name)) continue
    const [put, get] = await measureSize(open.running, open.store, name, bytes, countMax).catch((error: unknown) => {
      process.stderr.write(`bench: ${server.name}, ${name}: ${messageOf(error).slice(0, 200)}\n`)
      return [failed, failed] as const
    })
    found.push(...transfer(`PUT ${name}`, put, bytes), ...transfer(`GET ${name}`, get, bytes))
  }
  return found
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

function listedName(number: number): string {
  const folder = Math.floor(number / keysPerFolder)
  return `list/${String(folder).padStart(4, '0')}/${String(number).padStart(6, '0')}`
}

/** Lists as often as there is time for, and once at least. */
async function measureListing({ running, store }: Opened): Promise<readonly Figure[]> {
  const found: Figure[] = []
  for (const [what, delimiter] of [
    ['LIST, all keys', ''],
    ['LIST, by folder', '/'],
  ] as const) {
    const [cpuStartMs, startMs] = [running.cpuMs(), performance.now()]
    let [shown, once] = [0, 0]
    do {
      once = await listAll(store, delimiter)
      shown += once
    } while (performance.now() - startMs < budgetMs)
    const perSecond = (shown * 1000) / (performance.now() - startMs)
    const rate = { perSecond, perCpuSecond: (shown * 1000) / (running.cpuMs() - cpuStartMs) }
    found.push(...figures(what, rate, (value) => `${value.toFixed(0)}/s`))
    process.stderr.write(`bench: ${running.name}: ${what}: ${once}\n`)
  }
  return found
}

interface Column {
  readonly server: ObjectServer
  readonly figures: readonly Figure[]
}

/** How the embedded server stands: its figure over the best of others; empty where there is none. */
function ratio(what: string, mine: Column, others: readonly Column[]): string {
  const of = (column: Column): number => column.figures.find((figure) => figure.what === what)?.perSecond ?? Number.NaN
  const best = Math.max(...others.map(of).filter((value) => Number.isFinite(value)))
  return Number.isFinite(best) && Number.isFinite(of(mine)) ? (of(mine) / best).toFixed(2) : ''
}

/** Takes figures of one server; says what kept it from that, and takes none. */
async function tried(server: ObjectServer, work: () => Promise<readonly Figure[]>): Promise<readonly Figure[]> {
  process.stderr.write(`bench: ${server.name} ...\n`)
  try {
    const found = await work()
    process.stderr.write(`${found.map(({ what, shown }) => `${what}: ${shown}`).join(', ')}\n`)
    return found
  } catch (error) {
    process.stderr.write(`bench: ${server.name}: ${messageOf(error).slice(0, 300)}\n`)
    return []
  }
}

/** Fills all servers with keys, and then lists those of one after the other. */
async function measureListings(servers: readonly ObjectServer[]): Promise<readonly (readonly Figure[])[]> {
  await using stack = new AsyncDisposableStack()
  const filled: (Opened | undefined)[] = []
  for (const server of servers) {
    try {
      const open = stack.use(await opened(server))
      const { perSecond } = await rate(open.running, listedKeys, fillMs, (key) => open.store.put(listedName(key), 'x'))
      process.stderr.write(`bench: ${server.name}: filled at ${perSecond.toFixed(0)}/s\n`)
      filled.push(open)
    } catch (error) {
      process.stderr.write(`bench: ${server.name}: ${messageOf(error).slice(0, 300)}\n`)
      filled.push(undefined)
    }
  }
  const hold = process.env['STEAD_BENCH_HOLD']
  while (hold !== undefined && !existsSync(hold)) await new Promise((resolve) => setTimeout(resolve, 200))
  const found: (readonly Figure[])[] = []
  for (const [index, server] of servers.entries()) {
    const open = filled[index]
    found.push(open === undefined ? [] : await tried(server, () => measureListing(open)))
  }
  return found
}

const wanted = process.argv.slice(2)
const servers = [embeddedServer, ...objectServers, syncedSeaweed()].filter(
  (server) => server.isHere() && (wanted.length === 0 || server === embeddedServer || wanted.includes(server.name)),
)
const bySize: (readonly Figure[])[] = []
if (sizes.some(({ name }) => isAsked(name)))
  for (const server of servers) bySize.push(await tried(server, () => measureSizes(server)))
const byListing = isAsked('LIST') ? await measureListings(servers) : []
const columns: readonly Column[] = servers.map((server, index) => {
  const kept = { what: 'fsync before the answer', shown: /^[^:]*/.exec(server.keeps)?.[0] ?? '' }
  return { server, figures: [kept, ...(bySize[index] ?? []), ...(byListing[index] ?? [])] }
})
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
  ...mine.figures.map(({ what }) => [
    what,
    ...columns.map(({ figures: own }) => own.find((figure) => figure.what === what)?.shown ?? ''),
    ratio(what, mine, synced),
    ratio(what, mine, ceph),
    ratio(what, mine, others),
  ]),
]
for (const row of table) process.stdout.write(`| ${row.join(' | ')} |\n`)
