/** `stead objects`: list, copy, delete and sign the objects of a running app's buckets. */
import { createReadStream, createWriteStream, existsSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, extname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { messageOf, SteadError } from '../../base/index.ts'
import { parseDuration } from '../../model/index.ts'
import { type Listed, type ObjectStore, pageMax, presignSecondsMax } from '../../objects/index.ts'
import { openBucket } from '../bucket-door.ts'
import { type Command, type Input, usage } from '../command.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { needTarget, type Target } from '../target.ts'
import { note, paint, print, size, table } from '../terminal.ts'
import { Transfer } from '../transfer.ts'

const actions = ['ls', 'cp', 'rm', 'presign'] as const
type Action = (typeof actions)[number]

export const objectsCommand: Command = {
  name: 'objects',
  usage: 'ls|cp|rm|presign [BUCKET:KEY]',
  summary: 'list, copy, delete and sign the objects of a bucket',
  help: `  ls BUCKET[:PREFIX]    what is there, up to the next slash; --recursive: all of it
  cp FROM TO            a file and an object, either way, or two objects; - is standard input or output.
                        --type TYPE for what is written; known from the ending of a usual name
  rm BUCKET:KEY...      delete; --recursive: everything that begins so
  presign BUCKET:KEY    a URL with which anybody can fetch it; --put: write it. --expires 1h, at most 7d.
                        The bucket needs a way in: public: { 'files.example.com': files }

  --app APP     a directory (default: here), or the name of an app that \`stead serve\` runs
  --json        one JSON object, with ls one a line
  Example: stead objects cp invoices:2026/17.pdf .`,
  options: {
    app: { type: 'string' },
    recursive: { type: 'boolean', short: 'r' },
    type: { type: 'string' },
    expires: { type: 'string' },
    put: { type: 'boolean' },
  },
  argumentsMax: 1000,
  async run(input) {
    const [word = '', ...names] = input.arguments
    const action = actions.find((candidate) => candidate === word)
    if (action === undefined)
      throw usage(
        word === '' ? 'stead objects needs an action' : `stead objects has no action ${word}`,
        `It has: ${actions.join(', ')}.`,
      )
    const target = await needTarget(input.text('app'))
    return await run[action](target, names, input)
  },
}

/** An object, or what begins so: `BUCKET:KEY`. */
interface Address {
  readonly bucket: string
  readonly key: string
}

/** Null for what is a file: a bucket's name has no slash and no dot, so neither is one before its colon. */
function addressOf(word: string): Address | null {
  const [, bucket, key = ''] = /^([a-z][a-z0-9-]*):(.*)$/s.exec(word) ?? []
  return bucket === undefined ? null : { bucket, key }
}

const run: Record<Action, (target: Target, names: readonly string[], input: Input) => Promise<ExitCode>> = {
  async ls(target, [word, ...more], input) {
    if (word === undefined || more.length > 0)
      throw usage('stead objects ls takes one bucket', 'As in `stead objects ls invoices:2026/`.')
    const { bucket, key: prefix } = addressOf(word) ?? { bucket: word, key: '' }
    await using door = await openBucket(target, input.text('app'), bucket, 'list')
    const delimiter = input.flag('recursive') ? {} : { delimiter: '/' }
    let count = 0
    for (let after: string | undefined, isFirst = true; isFirst || after !== undefined; isFirst = false) {
      const page = await door.store.list({
        prefix,
        ...delimiter,
        limit: pageMax,
        ...(after === undefined ? {} : { after }),
      })
      count += page.objects.length + page.prefixes.length
      show(page.objects, page.prefixes, input.json)
      after = page.next
    }
    if (count === 0 && !input.json)
      note(prefix === '' ? `${bucket} is empty` : `nothing in ${bucket} begins with ${prefix}`)
    return exitCodes.ok
  },

  async cp(target, [from, to, ...more], input) {
    if (from === undefined || to === undefined || more.length > 0)
      throw usage('stead objects cp takes two places', 'As in `stead objects cp report.pdf invoices:2026/`.')
    const [source, goal] = [addressOf(from), addressOf(to)]
    if (source === null && goal === null)
      throw usage('neither of the two is an object', 'An object is BUCKET:KEY, as in invoices:2026/17.pdf.')
    const app = input.text('app')
    await using read = source === null ? null : await openBucket(target, app, source.bucket, 'read')
    await using written = goal === null ? null : await openBucket(target, app, goal.bucket, 'write')
    const content = source === null || read === null ? fileContent(from) : await objectContent(read.store, source)
    using transfer = new Transfer(`${from} → ${to}`, content.bytes, !input.json)
    const pieces = transfer.counted(content.pieces)
    const place =
      goal === null || written === null
        ? await toFile(to, basename(source?.key ?? from), pieces)
        : await toObject(written.store, goal, from, pieces, input.text('type') ?? content.type)
    if (input.json) print(JSON.stringify({ from, to: place, bytes: transfer.bytes }))
    else if (place !== '-') note(`${place}: ${size(transfer.bytes)}`)
    return exitCodes.ok
  },

  async rm(target, names, input) {
    const [first, ...others] = names.map((name) => keyOf(name, input.flag('recursive')))
    if (first === undefined)
      throw usage('stead objects rm needs an object', 'As in `stead objects rm invoices:2026/17.pdf`.')
    const removed: string[] = []
    for (const { bucket, key } of [first, ...others]) {
      await using door = await openBucket(target, input.text('app'), bucket, 'delete')
      const keys = input.flag('recursive') ? keysUnder(door.store, key) : existing(door.store, bucket, key)
      for await (const each of keys) {
        await door.store.delete(each)
        removed.push(`${bucket}:${each}`)
        if (!input.json) print(`deleted ${bucket}:${each}`)
      }
    }
    if (input.json) print(JSON.stringify({ removed }))
    else if (removed.length === 0) note('nothing was there')
    return exitCodes.ok
  },

  async presign(target, [word, ...more], input) {
    if (word === undefined || more.length > 0)
      throw usage('stead objects presign takes one object', 'As in `stead objects presign invoices:2026/17.pdf`.')
    const { bucket, key } = keyOf(word, false)
    const expiresSeconds = secondsOf(input.text('expires') ?? '1h')
    const method = input.flag('put') ? 'PUT' : 'GET'
    await using door = await openBucket(target, input.text('app'), bucket, 'presign')
    const endpoint = await wayInOf(target, bucket)
    if (method === 'GET' && (await door.store.stat(key)) === null) throw noObject(bucket, key)
    await using outside = door.at(endpoint)
    const type = input.text('type')
    const url = await outside.presign({ method, key, expiresSeconds, ...(type === null ? {} : { contentType: type }) })
    if (input.json) print(JSON.stringify({ method, url, expiresSeconds }))
    else print(url)
    return exitCodes.ok
  },
}

function show(objects: readonly Listed[], prefixes: readonly string[], json: boolean): void {
  if (json) {
    for (const prefix of prefixes) print(JSON.stringify({ prefix }))
    for (const object of objects) print(JSON.stringify(object))
    return
  }
  const rows = [
    ...prefixes.map((prefix): readonly [string, string, string] => ['', '', paint('cyan', prefix)]),
    ...objects.map(({ key, bytes, modifiedMs }): readonly [string, string, string] => [
      new Date(modifiedMs).toISOString().replace(/\.\d+Z$/, 'Z'),
      size(bytes).padStart(7),
      key,
    ]),
  ]
  if (rows.length > 0) print(table(rows))
}

function keyOf(word: string, emptyToo: boolean): Address {
  const address = addressOf(word)
  if (address !== null && (address.key !== '' || emptyToo)) return address
  throw usage(`${word} is no object`, 'An object is BUCKET:KEY, as in invoices:2026/17.pdf.')
}

async function* keysUnder(store: ObjectStore, prefix: string): AsyncGenerator<string> {
  // From the beginning each time: what was deleted is not listed any more.
  for (;;) {
    const { objects } = await store.list({ prefix, limit: pageMax })
    if (objects.length === 0) return
    for (const { key } of objects) yield key
  }
}

async function* existing(store: ObjectStore, bucket: string, key: string): AsyncGenerator<string> {
  if ((await store.stat(key)) === null) throw noObject(bucket, key)
  yield key
}

function noObject(bucket: string, key: string): SteadError {
  return new SteadError({
    code: 'cli.no-object',
    message: `${bucket} has no object ${key}`,
    hint: `See \`stead objects ls ${bucket}\`.`,
  })
}

/** Bytes on their way, and what is known of them. */
interface Content {
  readonly pieces: AsyncIterable<Uint8Array>
  /** Null where nobody knows before they have all come. */
  readonly bytes: number | null
  readonly type: string | null
}

function fileContent(path: string): Content {
  if (path === '-') return { pieces: process.stdin, bytes: null, type: null }
  const found = statSync(path, { throwIfNoEntry: false })
  if (found?.isFile() === true) return { pieces: createReadStream(path), bytes: found.size, type: null }
  throw new SteadError({
    code: 'cli.no-file',
    message: found === undefined ? `there is no file ${path}` : `${path} is no file`,
    hint: 'Name a file, or - for standard input.',
  })
}

async function objectContent(store: ObjectStore, { bucket, key }: Address): Promise<Content> {
  const found = key === '' ? null : await store.get(key)
  if (found === null) throw noObject(bucket, key)
  return { pieces: found.body, bytes: found.bytes, type: found.contentType }
}

/** Types of files that people look at; the rest is bytes. */
const types: Readonly<Record<string, string>> = {
  '.css': 'text/css',
  '.csv': 'text/csv',
  '.gif': 'image/gif',
  '.html': 'text/html',
  '.jpeg': 'image/jpeg',
  '.jpg': 'image/jpeg',
  '.json': 'application/json',
  '.pdf': 'application/pdf',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.webp': 'image/webp',
  '.xml': 'application/xml',
}

async function toObject(
  store: ObjectStore,
  { bucket, key }: Address,
  from: string,
  pieces: AsyncIterable<Uint8Array>,
  type: string | null,
): Promise<string> {
  const name = basename(addressOf(from)?.key ?? from)
  if ((key === '' || key.endsWith('/')) && name === '-')
    throw usage('what comes from standard input needs a name', 'As in `stead objects cp - invoices:2026/17.pdf`.')
  const whole = key === '' || key.endsWith('/') ? `${key}${name}` : key
  const contentType = type ?? types[extname(whole).toLowerCase()]
  await store.put(whole, pieces, contentType === undefined ? {} : { contentType })
  return `${bucket}:${whole}`
}

/** Whole or not at all: under another name until it has all come. */
async function toFile(to: string, name: string, pieces: AsyncIterable<Uint8Array>): Promise<string> {
  if (to === '-') {
    for await (const piece of pieces)
      if (!process.stdout.write(piece)) await new Promise((resolve) => process.stdout.once('drain', resolve))
    return '-'
  }
  const path = existsSync(to) && statSync(to).isDirectory() ? join(to, name) : to
  const partial = `${path}.partial-${process.pid}`
  try {
    await pipeline(Readable.from(pieces), createWriteStream(partial, { flags: 'wx' }))
    renameSync(partial, path)
  } catch (cause) {
    rmSync(partial, { force: true })
    throw new SteadError({ code: 'cli.not-copied', message: `${path} was not written: ${messageOf(cause)}`, cause })
  }
  return path
}

function secondsOf(text: string): number {
  const seconds = Math.floor((parseDuration(text) ?? 0) / 1000)
  if (seconds >= 1 && seconds <= presignSecondsMax) return seconds
  throw usage(`--expires must be from 1s to 7d, not '${text}'`, 'As in --expires 1h.')
}

/** Where the bucket answers outside. Throws `cli.no-way-in`. */
async function wayInOf({ operator, app }: Target, bucket: string): Promise<string> {
  const [{ routes }, { urls }] = await Promise.all([operator.graph(app), operator.status(app)])
  const host = routes.find(({ part, host: name }) => part === bucket && !name.startsWith('*'))?.host
  const url = urls.find((candidate) => URL.parse(candidate)?.hostname === host)
  if (host !== undefined && url !== undefined) return url
  throw new SteadError({
    code: 'cli.no-way-in',
    message: `nothing outside the app reaches ${bucket}, so a URL to it would be of no use`,
    hint: `Give it a host in the app file: public: { '${bucket}.localhost': ${bucket} }.`,
  })
}
