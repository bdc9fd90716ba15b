/**
 * Makes docs/object-stores.md: what the probe finds in the embedded server and in each real one that lies in the cache of
 * `scripts/object-servers.ts`. A server that is not there keeps its row of the last run, with the version it was found with; so do
 * all that are not named, where some are named as arguments.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isSteadError } from '../src/base/index.ts'
import { makeS3Bucket, probeS3 } from '../src/objects/index.ts'
import type { Probe, S3Options } from '../src/objects/index.ts'
import { embeddedServer, missingObjectServers, objectServers, startObjectServer } from './object-servers.ts'
import type { ObjectServer } from './object-servers.ts'

interface Row {
  readonly name: string
  readonly version: string
  readonly source: string
  readonly startSeconds: number
  readonly keeps: string
  /** Of a bucket without versions. */
  readonly probe: Probe
  /** Of one with them, where the server has them. */
  readonly versioned: Probe | undefined
}

const page = join(import.meta.dirname, '../docs/object-stores.md')
const asked = ['putIfAbsent', 'putIfMatch', 'checksums', 'presign', 'paging'] as const

async function rowOf(server: ObjectServer): Promise<Row> {
  const startMs = performance.now()
  await using running = await startObjectServer(server)
  const startSeconds = Math.round((performance.now() - startMs) / 100) / 10
  const { endpoint, accessKeyId, secretAccessKey } = running
  const place = { endpoint, accessKeyId, secretAccessKey }
  await makeS3Bucket({ ...place, bucket: 'plain' })
  const probe = await probeS3({ ...place, bucket: 'plain', durability: server.durability })
  const versioned = await withVersions({ ...place, bucket: 'versioned' })
  const { name, version, source, keeps } = server
  return { name, version, source, keeps, startSeconds, probe, versioned }
}

/** What the probe finds where versions are kept; undefined where they cannot be. */
async function withVersions(options: Omit<S3Options, 'capabilities'>): Promise<Probe | undefined> {
  try {
    await makeS3Bucket(options, { versions: true })
  } catch (error) {
    if (isSteadError(error)) return undefined
    throw error
  }
  const probe = await probeS3(options)
  return probe.capabilities.versions ? probe : undefined
}

function rowsBefore(): readonly Row[] {
  try {
    const data = /<!-- data: (.*) -->/.exec(readFileSync(page, 'utf8'))?.[1]
    const rows: readonly Row[] = data === undefined ? [] : JSON.parse(data)
    return rows
  } catch {
    return []
  }
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`
}

function findingsOf({ probe, versioned }: Row): readonly string[] {
  const plain = probe.findings.filter((finding) => versioned === undefined || !finding.startsWith('versions:'))
  const more = (versioned?.findings ?? []).filter((finding) => !plain.includes(finding))
  const found = [...plain, ...more.map((finding) => `in a bucket with versions, ${finding}`)]
  return found.length === 0 ? ['Nothing is missing.'] : found
}

function pageOf(rows: readonly Row[]): string {
  const heads = ['', ...asked, 'versions', 'snapshots', 'fsync before the answer']
  const fsync = { fsync: 'yes', none: 'no', unknown: 'not known' }
  const yes = (held: boolean): string => (held ? 'yes' : '**no**')
  const held = ({ name, version, versioned, probe: { capabilities } }: Row): string =>
    line([
      `${name} ${version}`,
      ...asked.map((capability) => yes(capabilities[capability])),
      yes(versioned !== undefined),
      yes(capabilities.paging),
      fsync[capabilities.durability],
    ])
  return [
    '# What object stores really do',
    '',
    'Made by `scripts/object-matrix.ts` from what the probe of `stead/objects` found in servers that it started; not written by hand.',
    'A column is what an app can ask for when it is declared; what a store does not do is refused then. `snapshots` is by names in',
    'the app’s own database, where conditions are the database’s too. Whether an answer waits for a disk no request can find out: it is',
    'what the configuration says that the servers were started with here.',
    '',
    line(heads),
    line(heads.map(() => '---')),
    ...rows.map(held),
    '',
    '## What was found',
    '',
    ...rows.flatMap((row) => [
      `**${row.name} ${row.version}** (${row.source}; answered after ${row.startSeconds} s)`,
      '',
      ...findingsOf(row).map((finding) => `- ${finding}`),
      `- fsync before the answer: ${row.keeps}`,
      '',
    ]),
    '## Not started',
    '',
    ...Object.entries(missingObjectServers).map(([name, why]) => `- **${name}**: ${why}.`),
    '',
    `<!-- data: ${JSON.stringify(rows)} -->`,
    '',
  ].join('\n')
}

const wanted = process.argv.slice(2)
const before = rowsBefore()
const rows: Row[] = []
for (const server of [embeddedServer, ...objectServers]) {
  const known = before.find(({ name }) => name === server.name)
  if (server.isHere() && (wanted.length === 0 || wanted.includes(server.name))) {
    const row = await rowOf(server)
    rows.push(row)
    process.stdout.write(`${row.name} ${row.version}: ${findingsOf(row).join('; ')}\n`)
  } else if (known !== undefined) rows.push(known)
}
writeFileSync(page, pageOf(rows))
