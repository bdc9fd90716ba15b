/**
 * Pebble, the ACME test server of Let's Encrypt, for tests: built once from its Go module into a cache folder, started with
 * names that all lead to this machine, and ended with the test.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { systemClock, systemRandom } from '../src/base/index.ts'
import { localCertificates } from '../src/certificates/index.ts'
import { freePort } from './command-line.ts'

const version = 'v2.10.3'
const cacheDir = join(import.meta.dirname, '..', 'node_modules', '.cache', 'pebble')
const startMs = 30_000

/** Where Pebble lies, built when it is not there yet: half a minute and the Go module proxy, once. */
export async function buildPebble(go: string): Promise<string> {
  const path = join(cacheDir, `pebble-${version}`)
  if (existsSync(path)) return path
  const dir = join(cacheDir, `building-${process.pid}`)
  mkdirSync(dir, { recursive: true })
  const options = { env: { ...process.env, GOBIN: dir, GOFLAGS: '-mod=mod' }, timeout: 280_000 }
  await promisify(execFile)(go, ['install', `github.com/letsencrypt/pebble/v2/cmd/pebble@${version}`], options)
  renameSync(join(dir, 'pebble'), path)
  return path
}

export interface Pebble extends AsyncDisposable {
  readonly directoryUrl: string
  /** PEM of whom its own server is trusted by. */
  readonly serverRoots: string
  /** PEM of the authority that signs certificates. */
  roots(): Promise<string>
  /** What it has said. */
  log(): string
}

export interface PebbleOptions {
  /** The program, from `buildPebble`. */
  readonly path: string
  /** A directory of the test's own. */
  readonly dir: string
  /** Where it asks its questions: the port of the way in for plain HTTP. */
  readonly httpPort: number
  readonly lifeS: number
  /** Hosts it signs nothing for. */
  readonly blocked: readonly string[]
}

/** Starts Pebble and a name server that knows one answer. Pebble refuses some nonces on purpose, as real ones may. */
export async function startPebble({ path, dir, httpPort, lifeS, blocked }: PebbleOptions): Promise<Pebble> {
  await using started = new AsyncDisposableStack()
  const local = await localCertificates({ dir: join(dir, 'server'), clock: systemClock, random: systemRandom })
  local.want(['127.0.0.1'])
  const own = local.find('127.0.0.1')
  if (own === null) throw new Error('the local authority made no certificate')
  const [certificate, privateKey] = [join(dir, 'pebble.crt'), join(dir, 'pebble.key')]
  writeFileSync(certificate, own.chain)
  writeFileSync(privateKey, own.key, { mode: 0o600 })
  const [port, managementPort, names] = [await freePort(), await freePort(), await serveNames(started)]
  const settings = {
    listenAddress: `127.0.0.1:${port}`,
    managementListenAddress: `127.0.0.1:${managementPort}`,
    certificate,
    privateKey,
    httpPort,
    tlsPort: 1,
    ocspResponderURL: '',
    externalAccountBindingRequired: false,
    domainBlocklist: blocked,
    retryAfter: { authz: 1, order: 1 },
    profiles: { default: { description: 'for tests', validityPeriod: lifeS } },
  }
  const config = join(dir, 'pebble.json')
  writeFileSync(config, JSON.stringify({ pebble: settings }))
  const env = { ...process.env, PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '20', PEBBLE_AUTHZREUSE: '0' }
  const child = spawn(path, ['-config', config, '-dnsserver', `127.0.0.1:${names}`], { env, stdio: 'pipe' })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()))
  started.defer(async () => {
    if (child.exitCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  const serverRoots = readFileSync(local.authorityFile, 'utf8')
  const directoryUrl = `https://127.0.0.1:${port}/dir`
  const endMs = performance.now() + startMs
  while ((await get(directoryUrl, serverRoots).catch(() => null)) === null) {
    if (performance.now() > endMs || child.exitCode !== null) throw new Error(`Pebble did not start:\n${said}`)
    await pause(50)
  }
  const running = started.move()
  return {
    directoryUrl,
    serverRoots,
    roots: () => get(`https://127.0.0.1:${managementPort}/roots/0`, serverRoots),
    log: () => said,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

/** A name server, over TCP as Pebble asks: every name is this machine. Answers its port. */
async function serveNames(started: AsyncDisposableStack): Promise<number> {
  const ipv4 = 1
  const server = createServer((socket) => {
    let seen = Buffer.alloc(0)
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => {
      seen = Buffer.concat([seen, chunk])
      if (seen.length < 2 || seen.length < 2 + seen.readUInt16BE(0)) return
      const query = seen.subarray(2)
      const question = query.subarray(12, query.indexOf(0, 12) + 5)
      const known = question.readUInt16BE(question.length - 4) === ipv4
      const head = Buffer.from([query[0] ?? 0, query[1] ?? 0, 0x81, 0x80, 0, 1, 0, known ? 1 : 0, 0, 0, 0, 0])
      const answer = Buffer.from([0xc0, 12, 0, ipv4, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1])
      const reply = Buffer.concat([head, question, ...(known ? [answer] : [])])
      socket.end(Buffer.concat([Buffer.from([0, reply.length]), reply]))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  started.defer(() => void server.close())
  const address = server.address()
  return address !== null && typeof address === 'object' ? address.port : 0
}

async function get(url: string, ca: string): Promise<string> {
  const asked = request(url, { ca, agent: false }).end()
  const [response] = (await once(asked, 'response')) as [NodeJS.ReadableStream]
  return text(response)
}
