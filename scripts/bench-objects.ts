/**
 * The embedded S3 server beside others in the same run, on the same disk, through the same client: objects of 1 KB, 1 MB and
 * 100 MB, several at once, and a listing. Servers come from `scripts/object-servers.ts`; one that is not in its cache is left out.
 * Prints a table with how each keeps what it has answered; decides nothing. `STEAD_BENCH_KEYS` sets how many keys are listed.
 */
import { makeS3Bucket, openS3Store } from '../src/objects/index.ts'
import type { ObjectStore } from '../src/objects/index.ts'
import { embeddedServer, objectServers, startObjectServer } from './object-servers.ts'
import type { ObjectServer } from './object-servers.ts'

const budgetMs = 2000
const listedKeys = Number(process.env['STEAD_BENCH_KEYS'] ?? 10_000)
const sizes = [
  { name: '1 KB', bytes: 1000, countMax: 20_000, atOnce: 16 },
  { name: '1 MB', bytes: 1_000_000, countMax: 500, atOnce: 16 },
  { name: '100 MB', bytes: 100_000_000, countMax: 8, atOnce: 4 },
]

/** Calls `work` with rising numbers, so many at once, until time or numbers run out; how many a second. */
async function rate(
  countMax: number,
  lanes: number,
  work: (number: number, lane: number) => Promise<unknown>,
): Promise<number> {
  let next = 0
  const startMs = performance.now()
  const lane = async (_: unknown, index: number): Promise<void> => {
    while (next < countMax && performance.now() - startMs < budgetMs) {
      next += 1
      await work(next, index)
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
  return (next * 1000) / (performance.now() - startMs)
}

async function readWhole(store: ObjectStore, key: string): Promise<void> {
  const read = await store.get(key)
  let bytes = 0
  for await (const piece of read?.body ?? []) bytes += piece.length
  if (bytes !== read?.bytes) throw new Error(`${key} came with ${bytes} bytes`)
}

function shown(perSecond: number, bytes: number): string {
  return bytes < 100_000 ? `${perSecond.toFixed(0)}/s` : `${((perSecond * bytes) / 1e6).toFixed(0)} MB/s`
}

async function measure(server: ObjectServer): Promise<readonly (readonly [string, string])[]> {
  await using running = await startObjectServer(server)
  const { endpoint, accessKeyId, secretAccessKey } = running
  const options = { endpoint, accessKeyId, secretAccessKey, bucket: 'bench' }
  await makeS3Bucket(options)
  const all = { putIfAbsent: true, putIfMatch: true, checksums: true, presign: true, paging: true, versions: false }
  await using store = openS3Store({ ...options, capabilities: { ...all, durability: server.durability } })
  const rows: (readonly [string, string])[] = [
    ['fsync before the answer', { fsync: 'yes', none: 'no', unknown: 'not known' }[server.durability]],
  ]
  for (const { name, bytes, countMax, atOnce } of sizes) {
    const contents = Array.from({ length: atOnce }, () => Buffer.alloc(bytes))
    let written = 0
    const put = await rate(countMax, atOnce, async (number, lane) => {
      const content = contents[lane] ?? Buffer.alloc(0)
      content.writeUInt32LE(number, 0)
      await store.put(`${name}/${number}`, content)
      written = Math.max(written, number)
    })
    const get = await rate(countMax, atOnce, (number) =>
      readWhole(store, `${name}/${1 + (number % Math.max(written - atOnce, 1))}`),
    )
    rows.push([`PUT ${name}`, shown(put, bytes)], [`GET ${name}`, shown(get, bytes)])
  }
  await rate(Math.min(listedKeys, 100_000), 16, (number) => store.put(`list/${String(number).padStart(6, '0')}`, 'x'))
  let [keys, after] = [0, undefined as string | undefined]
  const startMs = performance.now()
  do {
    const page = await store.list({ prefix: 'list/', ...(after === undefined ? {} : { after }) })
    keys += page.objects.length
    after = page.next
  } while (after !== undefined)
  const seconds = (performance.now() - startMs) / 1000
  rows.push([`LIST, keys a second`, `${(keys / seconds).toFixed(0)}/s of ${keys}`])
  return rows
}

const columns: { readonly head: string; readonly rows: readonly (readonly [string, string])[] }[] = []
for (const server of [embeddedServer, ...objectServers]) {
  if (!server.isHere()) continue
  process.stderr.write(`bench: ${server.name} ...\n`)
  try {
    const rows = await measure(server)
    process.stderr.write(`${rows.map(([what, figure]) => `${what}: ${figure}`).join(', ')}\n`)
    columns.push({ head: `${server.name} ${server.version}`, rows })
  } catch (error) {
    process.stderr.write(
      `bench: ${server.name}: ${error instanceof Error ? error.message.slice(0, 300) : String(error)}\n`,
    )
  }
}
const table = [['16 at once, of 100 MB 4', ...columns.map(({ head }) => head)]]
for (const [index, [what]] of (columns[0]?.rows ?? []).entries()) {
  table.push([what, ...columns.map(({ rows }) => rows[index]?.[1] ?? '')])
}
const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((row) => (row[column] ?? '').length)))
for (const row of table)
  process.stdout.write(`${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}\n`)
