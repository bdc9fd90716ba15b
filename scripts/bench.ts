/**
 * Figures with a floor or a peer in the same run: how long a start takes, what a sandbox costs over a bare process, what the
 * idle platform weighs, and the gateway beside Caddy, nginx and HAProxy. Prints a table; decides nothing. Needs Linux;
 * without root the weaker drivers are measured, and named. `releases` runs only when it is named: it takes minutes.
 */
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/base/index.ts'
import { chooseNetworkDriver } from '../src/network/index.ts'
import { bubblewrapDriver, detectLimitGroups, type SandboxSpec } from '../src/sandbox/index.ts'

const rounds = 15
const port = 18_080
const { NODE_EXTRA_CA_CERTS: _slow, ...plainEnv } = process.env

interface Row {
  readonly what: string
  readonly figure: string
  readonly goal: string
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

function ms(value: number): string {
  return `${value.toFixed(1)} ms`
}

/** Time of a bare process, of a sandbox with the pool warm, and of one that makes its namespace first. */
async function sandboxStart(): Promise<Row[]> {
  const scratch = mkdtempSync(join(tmpdir(), 'stead-bench-'))
  chmodSync(scratch, 0o711)
  const driver = bubblewrapDriver({ clock: systemClock, groups: detectLimitGroups(systemClock, 'stead-bench') })
  const spec = (id: string, network: SandboxSpec['network']): SandboxSpec => ({
    id,
    argv: ['/usr/bin/true'],
    env: {},
    cwd: '/',
    mounts: [],
    files: [],
    hostUid: 1_900_000_000,
    limits: { memoryBytes: 2 ** 27, cpuCores: 1, pidsMax: 64, tmpBytes: 2 ** 24 },
    syscalls: 'strict',
    network,
    recordDir: join(scratch, id),
    outputBytesMax: 2 ** 20,
  })
  const timed = async (work: () => Promise<unknown>): Promise<number> => {
    const startMs = performance.now()
    await work()
    return performance.now() - startMs
  }
  const run = async (id: string, network: SandboxSpec['network']): Promise<void> => {
    const sandbox = await driver.start(spec(id, network))
    await sandbox.exited
  }
  const bare: number[] = []
  const warm: number[] = []
  const cold: number[] = []
  await using pool = chooseNetworkDriver({ poolSize: 4 })
  await using none = chooseNetworkDriver({ poolSize: 0 })
  for (let round = 0; round < rounds; round += 1) {
    bare.push(await timed(() => new Promise((resolve) => spawn('/usr/bin/true').on('exit', resolve))))
    await new Promise((resolve) => setTimeout(resolve, 30))
    using place = await pool.place(`warm${round}`)
    warm.push(await timed(() => run(`warm${round}`, place)))
    cold.push(
      await timed(async () => {
        using fresh = await none.place(`cold${round}`)
        await run(`cold${round}`, fresh)
      }),
    )
  }
  for (let round = 0; round < rounds; round += 1)
    for (const name of ['warm', 'cold']) await driver.remove(join(scratch, `${name}${round}`))
  rmSync(scratch, { recursive: true, force: true })
  const over = (values: readonly number[]): string =>
    `median ${ms(median(values) - median(bare))}, best ${ms(Math.min(...values) - Math.min(...bare))} over a bare process (${ms(median(bare))})`
  return [
    { what: 'sandbox start to end, pool warm', figure: over(warm), goal: 'at most 12 ms over' },
    { what: 'sandbox start to end, cold', figure: over(cold), goal: '' },
  ]
}

function ask(): Promise<number> {
  return new Promise((resolve) => {
    const question = request(
      { host: '127.0.0.1', port, headers: { host: 'shop.localhost' }, agent: false },
      (answer) => {
        answer.resume()
        resolve(answer.statusCode ?? 0)
      },
    )
    question.on('error', () => resolve(0))
    question.end()
  })
}

/** Proportional set size of a process in bytes. */
function pssBytes(pid: number): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
  return Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024
}

/** The platform's own process, the keepers and loggers of its instances, and what runs in its limit groups. */
function processesOf(pid: number, state: string): { pid: number; name: string }[] {
  const group = `stead-${readdirSync(join(state, 's', 'apps'))[0] ?? ''}`
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8')
        const groups = readFileSync(`/proc/${name}/cgroup`, 'utf8')
        const own = Number(name) === pid || command.includes(state) || groups.includes(group)
        return own ? [{ pid: Number(name), name: readFileSync(`/proc/${name}/comm`, 'utf8').trim() }] : []
      } catch {
        return []
      }
    })
}

/** Start with an empty disk and with data present, and the weight of the idle platform. */
async function startAndWeight(): Promise<Row[]> {
  const scratch = mkdtempSync(join(tmpdir(), 'stead-bench-'))
  chmodSync(scratch, 0o711)
  const env = { ...plainEnv, STEAD_STATE: join(scratch, 's'), STEAD_RUN: join(scratch, 'r') }
  const rows: Row[] = []
  try {
    for (const [what, goal] of [
      ['`up` to the first 200, empty disk, dependencies from the registry', 'at most 10 s'],
      ['`up` to the first 200, data present', 'at most 3 s'],
      ['`up` to the first 200, data present, again', 'at most 3 s'],
    ] as const) {
      const startMs = performance.now()
      const child = spawn('./stead', ['up', 'examples/shop', '--port', String(port)], { env, stdio: 'ignore' })
      while ((await ask()) !== 200) {
        if (performance.now() - startMs > 120_000) throw new Error('the shop did not start within 120 s')
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      rows.push({ what, figure: `${((performance.now() - startMs) / 1000).toFixed(2)} s`, goal })
      if (goal.startsWith('at most 10')) {
        await new Promise((resolve) => setTimeout(resolve, 5000))
        rows.push(...weight(child.pid ?? 0, scratch))
      }
      const stopMs = performance.now()
      child.kill('SIGINT')
      await new Promise((resolve) => child.on('exit', resolve))
      rows.push({
        what: '  Ctrl-C to the end',
        figure: `${((performance.now() - stopMs) / 1000).toFixed(2)} s`,
        goal: 'at most 5 s',
      })
    }
  } finally {
    spawnSync('./stead', ['down', 'examples/shop', '--delete-data'], { env })
    rmSync(scratch, { recursive: true, force: true })
  }
  return rows
}

function weight(pid: number, state: string): Row[] {
  const groups = { platform: 0, 'keepers and loggers': 0, PostgreSQL: 0, 'the app itself': 0 }
  for (const entry of processesOf(pid, state)) {
    const bytes = pssBytes(entry.pid)
    if (entry.pid === pid) groups.platform += bytes
    else if (/^(bwrap|s6-log|sh)$/.test(entry.name)) groups['keepers and loggers'] += bytes
    else if (entry.name.startsWith('postgres')) groups.PostgreSQL += bytes
    else groups['the app itself'] += bytes
  }
  const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`
  const idle = groups.platform + groups['keepers and loggers'] + groups.PostgreSQL
  const parts = Object.entries(groups).map(([name, bytes]) => `${name} ${mb(bytes)}`)
  return [
    { what: 'idle platform with PostgreSQL, PSS', figure: `${mb(idle)} (${parts.join(', ')})`, goal: 'at most 200 MB' },
  ]
}

// Waiting for a sandbox does not keep a process alive by itself.
const alive = setInterval(() => {}, 60_000)
const rows: Row[] = []
const only = process.argv[2]
for (const section of [sandboxStart, startAndWeight]) {
  if (only !== undefined && only !== section.name) continue
  process.stderr.write(`bench: ${section.name} ...\n`)
  rows.push(...(await section()))
}
const width = Math.max(...rows.map((row) => row.what.length))
for (const row of rows)
  process.stdout.write(`${row.what.padEnd(width)}  ${row.figure}${row.goal === '' ? '' : `   [goal: ${row.goal}]`}\n`)
clearInterval(alive)
if (only === undefined || only === 'serve') {
  process.stderr.write('bench: the daemon ...\n')
  spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', 'scripts/bench-serve.ts'], {
    stdio: 'inherit',
    env: plainEnv,
  })
}
if (only === undefined || only === 'gateway') {
  process.stderr.write('bench: gateway beside its peers ...\n')
  spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', 'scripts/bench-gateway.ts'], {
    stdio: 'inherit',
    env: plainEnv,
  })
}
const separate = (script: string, ...args: readonly string[]): void => {
  const argv = ['--disable-warning=ExperimentalWarning', `scripts/${script}`, ...args]
  spawnSync(process.execPath, argv, { stdio: 'inherit', env: plainEnv })
}
if (only === 'releases') {
  process.stderr.write('bench: releases that carry data, beside the tools that people use ...\n')
  separate('bench-releases.ts', ...process.argv.slice(3))
  process.stderr.write('bench: releases of a whole app, through its way in ...\n')
  separate('bench-releases-whole.ts', ...process.argv.slice(3))
}
if (only === undefined || only === 'queue') {
  process.stderr.write('bench: queues beside their disk ...\n')
  separate('bench-queue.ts')
  process.stderr.write('bench: queues beside what others are ...\n')
  separate('bench-queue-peers.ts')
  process.stderr.write("bench: queues beside their servers' own clients ...\n")
  separate('bench-queue-raw.ts')
}
if (only === undefined || only === 'objects') {
  process.stderr.write('bench: object storage beside its peers ...\n')
  separate('bench-objects.ts')
}
if (only === undefined || only === 'scheduler') {
  process.stderr.write('bench: the scheduler ...\n')
  // Each in a process of its own, so that the memory of one is not counted for the next.
  for (const section of ['classes', 'fill', 'million', 'million-plain']) separate('bench-scheduler.ts', section)
}
if (only === undefined || only === 'scheduler' || only === 'jobs') {
  process.stderr.write('bench: submitted jobs beside Slurm ...\n')
  separate('bench-jobs.ts', ...process.argv.slice(3))
  process.stderr.write('bench: the whole way of tasks, with nodes that are played ...\n')
  separate('bench-whole.ts')
}
