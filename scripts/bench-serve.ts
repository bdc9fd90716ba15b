/**
 * The daemon in figures: a change of one service to the new one serving, how long a killed process is missed, and what the
 * processes weigh at rest. Uses the published build, as servers do. Prints a table; decides nothing. Needs Linux and root.
 */
import { spawnSync } from 'node:child_process'
import { request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { DaemonBench, type Role } from '../test/daemon-bench.ts'
import { holds } from '../test/inventory.ts'
import { readNumbers, useLedger } from '../test/ledger-app.ts'
import { replaceApp } from '../test/small-app.ts'

const rounds = 5
const restMs = 15_000
const roles: readonly Role[] = ['supervisor', 'control', 'agent', 'gateway']

function row(what: string, figure: string, goal = ''): void {
  process.stdout.write(`${what.padEnd(58)}  ${figure}${goal === '' ? '' : `   [goal: ${goal}]`}\n`)
}

function spread(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (index: number): string => `${((sorted[index] ?? Number.NaN) / 1000).toFixed(2)} s`
  return `median ${at(Math.floor(sorted.length / 2))}, best ${at(0)}, worst ${at(sorted.length - 1)}`
}

function versionApp(version: number): Record<string, string> {
  return {
    'app.ts': [
      `import { app, service } from 'stead'`,
      `export default app('bench', () => {`,
      `  const web = service('web', { from: './web', run: ['node', 'server.js'], http: 3000 })`,
      `  return { parts: { web }, public: { 'bench.localhost': web } }`,
      `})`,
    ].join('\n'),
    'web/server.js': `require('node:http').createServer((q, a) => a.end('version ${version}')).listen(process.env.PORT)
      process.on('SIGTERM', () => process.exit(0))`,
  }
}

function bodyOf(port: number): Promise<string> {
  return new Promise((resolve) => {
    const question = request({ host: '127.0.0.1', port, agent: false, headers: { host: 'bench.localhost' } })
    question.on('error', () => resolve(''))
    question.on('response', (answer) => {
      text(answer).then(resolve, () => resolve(''))
    })
    question.end()
  })
}

/** From the command to the first answer of the new version, with requests all the while. */
async function changes(daemon: DaemonBench): Promise<void> {
  const took: number[] = []
  let failed = 0
  for (let version = 0; version <= rounds; version += 1) {
    replaceApp(daemon.bench, versionApp(version))
    const load = version === 0 ? null : daemon.load('bench.localhost')
    const startMs = performance.now()
    const deploying = daemon.deploy('bench')
    while ((await bodyOf(daemon.port)) !== `version ${version}`) await pause(5)
    if (load !== null) took.push(performance.now() - startMs)
    await deploying
    for (const [status, count] of (await load?.stop()) ?? []) if (status !== '200') failed += count
  }
  row(
    'stead deploy of a changed service to the new one serving',
    `${spread(took)}; ${failed} failed requests`,
    'at most 2 s, 0',
  )
}

/** How long the app does not answer as it should after a kill -9. */
async function kills(daemon: DaemonBench): Promise<void> {
  useLedger(daemon.bench)
  await daemon.deploy('ledger')
  await daemon.ready('ledger', 'web')
  for (const role of ['gateway', 'agent', 'control'] as const) {
    const missed: number[] = []
    for (let round = 0; round < rounds; round += 1) {
      await pause(1000)
      const startMs = performance.now()
      let lastBadMs = startMs
      process.kill(daemon.pidOf(role), 'SIGKILL')
      while (performance.now() - startMs < 3000)
        if ((await readNumbers(daemon.port)) === null) lastBadMs = performance.now()
      missed.push(lastBadMs - startMs)
    }
    row(
      `kill -9 of ${role} to the last request that failed`,
      spread(missed),
      role === 'agent' ? 'adopted within 1 s' : '',
    )
  }
}

async function weight(daemon: DaemonBench): Promise<void> {
  await pause(restMs)
  const sizes = roles.map((role) => ({ role, bytes: holds(daemon.pidOf(role)).pssBytes }))
  const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`
  const total = sizes.reduce((sum, { bytes }) => sum + bytes, 0)
  row(
    'the daemon at rest, PSS',
    `${mb(total)} (${sizes.map(({ role, bytes }) => `${role} ${mb(bytes)}`).join(', ')})`,
    'with PostgreSQL at most 200 MB',
  )
}

spawnSync(process.execPath, ['scripts/build.ts'], { stdio: 'ignore' })
const daemon = await DaemonBench.start({ main: join(import.meta.dirname, '..', 'dist', 'cli', 'main.js') })
try {
  await weight(daemon)
  await changes(daemon)
  await kills(daemon)
} finally {
  await daemon[Symbol.asyncDispose]()
}
