/**
 * Small apps for tests of the command line, without dependencies and quick to start, and what every refusal must have:
 * one sentence that says what and where, a hint, no stack of ours, nothing changed and nothing left running.
 */
import assert from 'node:assert/strict'
import { globSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type Result, Workbench } from './command-line.ts'

/** A server that answers everything and stops when it is asked to. */
export const server = `
  require('node:http').createServer((question, answer) => answer.end('ok')).listen(process.env.PORT)
  process.on('SIGTERM', () => process.exit(0))`

/** The declaration of a service `web` in ./web; `more` are further options. */
export function web(more = ''): string {
  return `const web = service('web', { from: './web', run: ['node', 'server.js'], http: 3000${more === '' ? '' : `, ${more}`} })`
}

/** The text of an app file with these declarations before its parts. */
export function appFile(
  declarations: string,
  result = `{ parts: { web }, public: { 'small.localhost': web } }`,
): string {
  return [
    `import { app, bucket, job, postgres, secret, service } from 'stead'`,
    `export default app('small', () => {`,
    declarations,
    `return ${result}`,
    `})`,
  ].join('\n')
}

/** Puts these files, and nothing else, into the app's directory. */
export function replaceApp(bench: Workbench, files: Readonly<Record<string, string>>): void {
  for (const name of readdirSync(bench.appDir)) rmSync(join(bench.appDir, name), { recursive: true })
  bench.write(files)
}

/** Brings the app up and down once, in good order. */
export async function runOnce(bench: Workbench): Promise<void> {
  const up = bench.up('--port', '0')
  await up.until(/small runs, after/)
  assert.equal((await up.stop()).code, 0)
}

/** Runs `stead up` until it ends by itself. */
export async function failedUp(bench: Workbench, ...args: readonly string[]): Promise<Result> {
  return bench.stead('up', '.', ...(args.includes('--port') ? args : ['--port', '0', ...args]))
}

export interface Refusal {
  readonly code?: number
  /** Fits the sentence. */
  readonly says: RegExp
  /** Fits what is to be done about it. */
  readonly hint: RegExp
}

/** Checks what a person was told. */
export function assertRefused(result: Result, { code = 1, says, hint }: Refusal): void {
  const lines = result.stderr.trimEnd().split('\n')
  const at = lines.findIndex((line) => line.startsWith('stead: '))
  assert.ok(at >= 0, `a sentence in:\n${result.stdout}${result.stderr}`)
  assert.match(lines[at] ?? '', says)
  assert.match(lines.slice(at + 1).join('\n'), hint)
  assert.equal(result.code, code, result.stderr)
  assert.doesNotMatch(result.stderr, /bug in stead|src\/cli\/main\.ts:\d/, 'no stack of the platform')
}

/** What is in the state directory, without bundles, which are a cache; of files also size and time of change. */
export function stateOf(bench: Workbench): string[] {
  const root = bench.env['STEAD_STATE'] ?? ''
  return globSync('**/*', { cwd: root, exclude: (path) => path === 'bundles' })
    .map((path) => {
      const found = statSync(join(root, path))
      return found.isFile() ? `${path} ${found.size} ${found.mtimeMs}` : path
    })
    .sort()
}

/** Processes and mounts that have to do with this place. */
export function leftBehind(bench: Workbench): string[] {
  const read = (path: string): string => {
    try {
      return readFileSync(path, 'utf8')
    } catch {
      return ''
    }
  }
  const processes = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && name !== String(process.pid))
    .map((pid) => ({ pid, command: read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ') }))
    .filter(({ command }) => command.includes(bench.dir))
    .map(({ pid, command }) => `process ${pid}: ${command}`)
  const mounts = read('/proc/mounts')
    .split('\n')
    .filter((line) => line.includes(`${bench.dir}/s/apps`))
  return process.platform === 'linux' ? [...processes, ...mounts] : []
}

/** Runs `work`, and checks that it changed nothing in the state directory and left nothing running. */
export async function changingNothing<T>(bench: Workbench, work: () => Promise<T>): Promise<T> {
  const before = stateOf(bench)
  const result = await work()
  assert.deepEqual(stateOf(bench), before)
  assert.deepEqual(leftBehind(bench), [])
  return result
}
