/** Runs the real `stead` command for tests, with a state directory of its own, and leaves nothing behind. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, chownSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

const root = join(import.meta.dirname, '..')
const sourceMain = join(root, 'src/cli/main.ts')
export const examplesDir: string = join(root, 'examples')

export interface Result {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A running `stead up`. */
export interface Running {
  readonly child: ChildProcess
  /** Everything it has printed so far. */
  output(): string
  /** Waits until the output matches. Fails with the output when it ends or `timeoutMs` pass first. */
  until(pattern: RegExp, timeoutMs?: number): Promise<void>
  /** Sends a signal and waits for the end; answers exit code and time. */
  stop(signal?: NodeJS.Signals): Promise<{ code: number | null; tookMs: number }>
}

export interface WorkbenchOptions {
  readonly env?: NodeJS.ProcessEnv
  /** The command to run, when it is not the one of the source. */
  readonly main?: string
  /** Who runs it, when it is not the user of the test. */
  readonly uid?: number | null
}

/** A place for one test: an app directory, state and sockets of its own. */
export class Workbench implements AsyncDisposable {
  readonly dir: string
  readonly appDir: string
  readonly env: NodeJS.ProcessEnv
  readonly #main: string
  readonly #user: { readonly uid: number; readonly gid: number } | null
  readonly #running: Running[] = []

  constructor({ env = {}, main = sourceMain, uid = null }: WorkbenchOptions = {}) {
    this.#main = main
    this.#user = uid === null ? null : { uid, gid: uid }
    this.dir = mkdtempSync(join(tmpdir(), 'st-'))
    // Workloads run as other users and must be able to pass through.
    chmodSync(this.dir, 0o711)
    this.appDir = join(this.dir, 'app')
    mkdirSync(this.appDir)
    const { NODE_EXTRA_CA_CERTS: _slow, ...inherited } = process.env
    if (uid !== null) for (const path of [this.dir, this.appDir]) chownSync(path, uid, uid)
    this.env = {
      ...inherited,
      STEAD_STATE: join(this.dir, 's'),
      STEAD_RUN: join(this.dir, 'r'),
      ...(uid === null ? {} : { HOME: this.dir }),
      ...env,
    }
  }

  /** Puts an example here, to run and to change. */
  useExample(name: string): void {
    cpSync(join(examplesDir, name), this.appDir, { recursive: true, filter: (path) => !path.includes('node_modules') })
  }

  /** Writes files of an app, by path. */
  write(files: Readonly<Record<string, string>>): void {
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(join(this.appDir, path, '..'), { recursive: true })
      writeFileSync(join(this.appDir, path), content)
    }
  }

  /** The words that run a command. */
  command(args: readonly string[]): readonly string[] {
    return [process.execPath, '--disable-warning=ExperimentalWarning', this.#main, ...args]
  }

  /** Runs a command to its end. */
  stead(...args: readonly string[]): Promise<Result> {
    return this.as({}, ...args)
  }

  /** Runs a command to its end, with more in its environment. */
  as(env: NodeJS.ProcessEnv, ...args: readonly string[]): Promise<Result> {
    return new Promise((resolve) => {
      const options = {
        env: { ...this.env, ...env },
        cwd: this.appDir,
        timeout: 120_000,
        maxBuffer: 64 * 1024 * 1024,
        ...this.#user,
      }
      execFile(
        process.execPath,
        ['--disable-warning=ExperimentalWarning', this.#main, ...args],
        options,
        (error, stdout, stderr) => {
          resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, stdout, stderr })
        },
      )
    })
  }

  /** Starts `stead up` here. */
  up(...args: readonly string[]): Running {
    return this.start('up', '.', ...args)
  }

  /** Starts a command that goes on. */
  start(...args: readonly string[]): Running {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', this.#main, ...args], {
      env: this.env,
      cwd: this.appDir,
      stdio: ['pipe', 'pipe', 'pipe'],
      ...this.#user,
    })
    const running = followed(child)
    this.#running.push(running)
    return running
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const running of this.#running) await running.stop()
    // Ends what a killed platform left, and takes its mounts and limit groups away.
    const left = await this.stead('down', '.', '--delete-data')
    rmSync(this.dir, { recursive: true, force: true })
    assert.ok([0, 1, 3].includes(left.code), `cleaning up: ${left.stderr}`)
  }
}

function followed(child: ChildProcess): Running {
  let printed = ''
  const listeners = new Set<() => void>()
  const add = (chunk: Buffer): void => {
    printed += String(chunk)
    for (const listener of listeners) listener()
  }
  child.stdout?.on('data', add)
  child.stderr?.on('data', add)
  const ended = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)))
  return {
    child,
    output: () => printed,
    async until(pattern, timeoutMs = 90_000) {
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const look = (): void => {
        if (pattern.test(printed)) resolve()
      }
      listeners.add(look)
      look()
      const timer = setTimeout(
        () => reject(new Error(`no ${pattern} within ${timeoutMs / 1000} s in:\n${printed}`)),
        timeoutMs,
      )
      void ended.then((code) => reject(new Error(`ended with code ${code} before ${pattern}:\n${printed}`)))
      try {
        await promise
      } finally {
        clearTimeout(timer)
        listeners.delete(look)
      }
    },
    async stop(signal = 'SIGINT') {
      const startMs = performance.now()
      if (child.exitCode === null && child.signalCode === null) child.kill(signal)
      const code = await ended
      return { code, tookMs: performance.now() - startMs }
    },
  }
}

/**
 * A port that is free now, below those that the kernel gives to whoever asks for any: what is killed and comes back finds it
 * free again.
 */
export async function freePort(): Promise<number> {
  for (let left = 100; left > 0; left--) {
    const port = randomInt(12_000, 32_000)
    const server = createServer().listen(port, '127.0.0.1')
    const isFree = await once(server, 'listening').then(
      () => true,
      () => false,
    )
    if (!isFree) continue
    server.close()
    await once(server, 'close')
    return port
  }
  throw new Error('no port is free')
}

export interface Answer {
  readonly status: number
  readonly headers: NodeJS.Dict<string | string[]>
  readonly body: string
}

/** Runs a command with something on its standard input. */
export function withInput(bench: Workbench, input: string | Buffer, ...args: readonly string[]): Promise<Result> {
  const [node = '', ...words] = bench.command(args)
  const child = spawn(node, words, { env: bench.env, cwd: bench.appDir })
  const out = { stdout: '', stderr: '' }
  child.stdout.on('data', (chunk: Buffer) => (out.stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (out.stderr += chunk.toString()))
  child.stdin.on('error', () => {}).end(input)
  return new Promise((resolve) => child.once('close', (code) => resolve({ code: code ?? -1, ...out })))
}

/** One request to the way in, under the app's host name. */
export function ask(
  port: number,
  path: string,
  options: { host?: string; method?: string; form?: Record<string, string> } = {},
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const body = options.form === undefined ? '' : new URLSearchParams(options.form).toString()
  const question = request({
    host: '127.0.0.1',
    port,
    path,
    agent: false,
    method: options.method ?? (options.form === undefined ? 'GET' : 'POST'),
    headers: {
      host: options.host ?? 'shop.localhost',
      ...(options.form === undefined
        ? {}
        : { 'content-type': 'application/x-www-form-urlencoded', 'content-length': Buffer.byteLength(body) }),
    },
  })
  question.on('error', reject)
  question.on('response', (answer) => {
    text(answer).then(
      (content) => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: content }),
      reject,
    )
  })
  question.end(body)
  return promise
}

/** Asks again until `fits` is true. Fails with the last value after `timeoutMs`. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T>,
  fits: (value: T) => boolean,
  timeoutMs = 30_000,
): Promise<T> {
  const untilMs = performance.now() + timeoutMs
  for (;;) {
    const value = await look()
    if (fits(value)) return value
    if (performance.now() > untilMs)
      assert.fail(`${what} did not happen within ${timeoutMs / 1000} s; last: ${JSON.stringify(value)}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}
