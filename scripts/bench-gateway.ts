/**
 * The gateway beside Caddy, nginx and HAProxy: requests a second, CPU for each request (of the proxy's own processes, from
 * /proc), and latency, against the same backend in the same run. Rounds are interleaved, so that what else the machine does
 * falls on all alike, and medians are compared; figures are ratios, because the machine is not ours alone. A peer that is
 * not installed is skipped, and said so.
 *
 * Usage: scripts/node scripts/bench-gateway.ts [rounds=5] [seconds=4] [connections=64]
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect, createServer as createNetServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createGateway, HaproxyGateway, haproxyProgram } from '../src/gateway/index.ts'
import type { GatewayEngine } from '../src/gateway/index.ts'

const [role = '', ...rest] = process.argv.slice(2)
const ticksPerSecond = 100
const startMs = 10_000

interface Contender {
  readonly name: string
  readonly file: string
  readonly port: number
  readonly argv: readonly string[]
}

interface Measured {
  readonly perSecond: number
  readonly cpuMicros: number
  readonly p50Ms: number
  readonly p99Ms: number
}

async function freePort(): Promise<number> {
  const server = createNetServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  return address !== null && typeof address === 'object' ? address.port : 0
}

function runBackend(port: number): void {
  const head = ['content-type', 'text/plain', 'content-length', '13']
  createServer((_request, response) => response.writeHead(200, head).end('hello, world\n')).listen(port, '127.0.0.1')
}

/** The way in by the own engine, or by HAProxy with its files in a directory. */
async function runGateway(port: number, backend: number, directory: string | undefined): Promise<void> {
  const gateway: GatewayEngine =
    directory === undefined
      ? createGateway({
          connect: (endpoint) => (endpoint.kind === 'tcp' ? connect(endpoint.port, endpoint.host) : connect('')),
        })
      : new HaproxyGateway({ connect: () => connect(''), directory })
  await gateway.listen(port)
  const endpoint = { kind: 'tcp', host: '127.0.0.1', port: backend } as const
  const route = { id: 'web', host: '127.0.0.1', path: '/', app: 'bench', part: 'web' }
  await gateway.apply({ revision: 1, routes: [{ ...route, targets: [{ instance: 'web-1', endpoint }] }] })
}

/** Configurations as plain as each allows: one worker where it can be said, kept-alive connections, no logs. */
async function contenders(directory: string, backend: number): Promise<Contender[]> {
  const self = (name: string, port: number, args: readonly string[]): Contender => {
    return { name, port, file: process.execPath, argv: [import.meta.filename, ...args] }
  }
  const write = (name: string, text: string): string => {
    writeFileSync(join(directory, name), text)
    return join(directory, name)
  }
  const [own, managed, caddy] = [await freePort(), await freePort(), await freePort()]
  const [nginx, haproxy] = [await freePort(), await freePort()]
  const caddyfile = write(
    'Caddyfile',
    `{\n admin off\n auto_https off\n}\nhttp://127.0.0.1:${caddy} {\n reverse_proxy 127.0.0.1:${backend}\n}\n`,
  )
  const nginxConf = write(
    'nginx.conf',
    `daemon off; master_process off; worker_processes 1; pid ${directory}/nginx.pid; error_log ${directory}/nginx.err;
events { worker_connections 1024; }
http { access_log off; keepalive_requests 1000000;
 upstream web { server 127.0.0.1:${backend}; keepalive 128; keepalive_requests 1000000; }
 server { listen 127.0.0.1:${nginx}; location / { proxy_pass http://web; proxy_http_version 1.1;
  proxy_set_header Connection ""; proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; } } }\n`,
  )
  const haproxyConf = write(
    'haproxy.cfg',
    `global\n nbthread 1\ndefaults\n mode http\n option forwardfor\n http-reuse always\n timeout connect 5s\n timeout client 30s\n timeout server 30s
frontend in\n bind 127.0.0.1:${haproxy}\n default_backend web\nbackend web\n server web 127.0.0.1:${backend}\n`,
  )
  return [
    self('direct', backend, ['backend', String(backend)]),
    self('stead', own, ['gateway', String(own), String(backend)]),
    ...(existsSync(haproxyProgram)
      ? [self('stead haproxy', managed, ['gateway', String(managed), String(backend), join(directory, 'ha')])]
      : []),
    {
      name: 'caddy',
      file: '/usr/bin/caddy',
      port: caddy,
      argv: ['run', '--config', caddyfile, '--adapter', 'caddyfile'],
    },
    { name: 'nginx', file: '/usr/sbin/nginx', port: nginx, argv: ['-p', directory, '-c', nginxConf] },
    { name: 'haproxy', file: '/usr/sbin/haproxy', port: haproxy, argv: ['-f', haproxyConf] },
  ]
}

async function listening(port: number, name: string): Promise<void> {
  const endMs = performance.now() + startMs
  for (;;) {
    const socket = connect(port, '127.0.0.1')
    const up = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    })
    socket.destroy()
    if (up) return
    if (performance.now() > endMs) throw new Error(`${name} does not listen on ${port} after ${startMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** CPU ticks of a process and all below it so far. */
function cpuTicks(pid: number): number {
  const stats = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => {
      try {
        const text = readFileSync(`/proc/${name}/stat`, 'utf8')
        return { pid: Number(name), fields: text.slice(text.lastIndexOf(')') + 2).split(' ') }
      } catch {
        return { pid: 0, fields: [] }
      }
    })
  const mine = new Set([pid])
  // A parent is not always listed before its child.
  for (let before = 0; before < mine.size;) {
    before = mine.size
    for (const stat of stats) if (mine.has(Number(stat.fields[1]))) mine.add(stat.pid)
  }
  return stats
    .filter((stat) => mine.has(stat.pid))
    .reduce((sum, { fields }) => sum + Number(fields[11]) + Number(fields[12]), 0)
}

async function measure(contender: Contender, pid: number, seconds: number, connections: number): Promise<Measured> {
  const before = cpuTicks(pid)
  const wrk = spawn('wrk', [
    '-t1',
    `-c${connections}`,
    `-d${seconds}s`,
    '--latency',
    `http://127.0.0.1:${contender.port}/`,
  ])
  let text = ''
  wrk.stdout.on('data', (chunk) => (text += String(chunk)))
  await once(wrk, 'close')
  const ticks = cpuTicks(pid) - before
  const requests = Number(/(\d+) requests in/.exec(text)?.[1])
  if (/Non-2xx|Socket errors/.test(text) || !(requests > 0)) throw new Error(`${contender.name} failed:\n${text}`)
  const latencyMs = (percent: string): number => {
    const [, value, unit = 'ms'] = new RegExp(`${percent}%\\s+([\\d.]+)(us|ms|s)`).exec(text) ?? []
    return Number(value) * ({ us: 0.001, ms: 1, s: 1000 }[unit] ?? 1)
  }
  return {
    perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1]),
    cpuMicros: (ticks / ticksPerSecond / requests) * 1e6,
    p50Ms: latencyMs('50'),
    p99Ms: latencyMs('99'),
  }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (sorted.length - 1) / 2
  return ((sorted[Math.floor(at)] ?? 0) + (sorted[Math.ceil(at)] ?? 0)) / 2
}

function summary(measured: readonly Measured[]): Measured {
  return {
    perSecond: median(measured.map((one) => one.perSecond)),
    cpuMicros: median(measured.map((one) => one.cpuMicros)),
    p50Ms: median(measured.map((one) => one.p50Ms)),
    p99Ms: median(measured.map((one) => one.p99Ms)),
  }
}

function print(results: ReadonlyMap<string, readonly Measured[]>): void {
  const peers = ['caddy', 'haproxy'].filter((name) => results.has(name))
  const columns = peers.flatMap((name) => [`req/s x ${name}`, `CPU x ${name}`, `p99 x ${name}`])
  const header = ['', 'req/s', 'CPU us/req', 'p50 ms', 'p99 ms', ...columns]
  const rows = [...results].map(([name, measured]) => {
    const { perSecond, cpuMicros, p50Ms, p99Ms } = summary(measured)
    const ratios = peers.flatMap((peer) => {
      const other = summary(results.get(peer) ?? [])
      return [perSecond / other.perSecond, cpuMicros / other.cpuMicros, p99Ms / other.p99Ms]
    })
    const figures = [perSecond.toFixed(0), cpuMicros.toFixed(1), p50Ms.toFixed(2), p99Ms.toFixed(2)]
    return [name, ...figures, ...ratios.map((ratio) => ratio.toFixed(2))]
  })
  for (const row of [header, ...rows]) process.stdout.write(`${row.map((cell) => cell.padStart(15)).join(' ')}\n`)
}

async function run(rounds: number, seconds: number, connections: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'stead-bench-gateway-'))
  const running: ChildProcess[] = []
  const { NODE_EXTRA_CA_CERTS: _dropped, ...env } = process.env
  try {
    const backend = await freePort()
    const present: { contender: Contender; pid: number }[] = []
    for (const contender of await contenders(directory, backend)) {
      if (!existsSync(contender.file)) {
        process.stdout.write(`SKIPPED: ${contender.name} (${contender.file} is not installed)\n`)
        continue
      }
      const child = spawn(contender.file, contender.argv, { env: { ...env, HOME: directory }, stdio: 'ignore' })
      running.push(child)
      await listening(contender.port, contender.name)
      present.push({ contender, pid: child.pid ?? 0 })
    }
    for (const { contender, pid } of present) await measure(contender, pid, 1, connections)
    const results = new Map(present.map(({ contender }): [string, Measured[]] => [contender.name, []]))
    for (let round = 0; round < rounds; round += 1) {
      for (const { contender, pid } of present) {
        results.get(contender.name)?.push(await measure(contender, pid, seconds, connections))
      }
    }
    process.stdout.write(`${rounds} rounds of ${seconds} s, ${connections} connections, 13-byte body, medians\n`)
    print(results)
  } finally {
    for (const child of running) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const gone = once(child, 'exit')
      child.kill('SIGKILL')
      await gone
    }
    rmSync(directory, { recursive: true, force: true })
  }
}

if (role === 'backend') runBackend(Number(rest[0]))
else if (role === 'gateway') await runGateway(Number(rest[0]), Number(rest[1]), rest[2])
else if (!existsSync('/usr/bin/wrk')) process.stdout.write('SKIPPED: wrk is not installed (apt-get install wrk)\n')
else await run(Number(role || 5), Number(rest[0] ?? 4), Number(rest[1] ?? 64))
