/**
 * The bench of the conformance suite: the driver under test with a directory of its own, and bounded waits.
 *
 * Invariant: whatever a case started is ended and removed when the bench is closed.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { isSteadError, systemClock } from '../base/index.ts'
import type { Exit, HostIds, OutputLine, OutputOptions, Sandbox, SandboxDriver, SandboxSpec } from './driver.ts'

export interface ConformanceSetup {
  readonly name: string
  /** The reason why the driver cannot run here, or false. */
  readonly skip: string | false
  /** Makes the driver; called once. */
  make(): SandboxDriver
  /**
   * Command line of a supervisor in a process of its own: it is given a spec (without network) as JSON in one more
   * argument, starts it with the same kind of driver, prints `started` and stays.
   */
  readonly supervisor: readonly string[]
  /**
   * Fills a directory with a layer that holds `sh` and the usual small programs, for a driver that can give a root; null
   * where there is none to be had.
   */
  readonly layer?: (directory: string) => void
  /** Every case runs in a root of that layer, with one user or with several. */
  readonly rooted?: 'one user' | 'several users'
  /** Cases, by title, that this driver cannot pass, with the reason. */
  readonly skips?: Readonly<Record<string, string>>
}

/** A case: its title and what it does. */
export type ConformanceCase = readonly [string, (bench: Bench) => Promise<void>]

/** Longest wait for anything: a guest that is emulated on a busy machine takes its time. */
export const waitMs: number = 90_000
/** Bytes. */
export const megabyte: number = 2 ** 20
/** Not 0 and nobody's on a usual machine. */
const hostUid = 231_072
/** Other users beside it, where there are several. */
export const hostIds: HostIds = { first: 231_200, count: 65_536 }

/** What a case changes of the usual spec. */
export type SpecChange = Partial<Omit<SandboxSpec, 'argv' | 'recordDir'>>

/** The driver under test with a directory of its own, and what was started with it. */
export class Bench {
  readonly #setup: ConformanceSetup
  readonly #started: Sandbox[] = []
  readonly #recordDirs: string[] = []
  #driver: SandboxDriver | null = null
  #root = ''
  #layer: string | null = null
  #count = 0
  #alive: NodeJS.Timeout | null = null

  constructor(setup: ConformanceSetup) {
    this.#setup = setup
  }

  open(): void {
    this.#root = mkdtempSync(`${tmpdir()}/stead-sandbox-`)
    chmodSync(this.#root, 0o711)
    this.#driver = this.#setup.make()
    // Drivers do not keep the process alive; the tests wait for them.
    this.#alive = setInterval(() => undefined, 1000)
  }

  async close(): Promise<void> {
    for (const sandbox of this.#started) await sandbox.kill()
    for (const recordDir of this.#recordDirs) await this.#driver?.remove(recordDir)
    rmSync(this.#root, { recursive: true, force: true })
    clearInterval(this.#alive ?? undefined)
  }

  get driver(): SandboxDriver {
    assert.ok(this.#driver !== null)
    return this.#driver
  }

  /** Whether paths inside are those of the host. */
  get hostPaths(): boolean {
    return this.driver.capabilities.isolation === 'refused'
  }

  /** A directory of the host that the program may write, and how it is named inside. */
  shared(): { readonly host: string; readonly inside: string } {
    const host = `${this.#root}/shared-${this.#count++}`
    mkdirSync(host)
    chmodSync(host, 0o777)
    return { host, inside: this.hostPaths ? host : '/data' }
  }

  /** A directory with the usual small programs, to be the lowest layer of a root. */
  layer(): string {
    if (this.#layer !== null) return this.#layer
    assert.ok(this.#setup.layer !== undefined, 'a driver that can give a root is tested with a layer')
    this.#layer = this.directory()
    this.#setup.layer(this.#layer)
    return this.#layer
  }

  /** An empty directory of the host. */
  directory(): string {
    const path = `${this.#root}/directory-${this.#count++}`
    mkdirSync(path)
    return path
  }

  spec(script: string, change: SpecChange = {}): SandboxSpec {
    const id = `conform-${process.pid}-${this.#count++}`
    return {
      id,
      argv: ['sh', '-c', script],
      env: { PATH: '/usr/bin:/bin' },
      cwd: '/tmp',
      mounts: [],
      files: [],
      hostUid,
      limits: { memoryBytes: null, cpuCores: null, pidsMax: null, tmpBytes: null },
      syscalls: this.driver.capabilities.syscallFilter === 'refused' ? 'none' : 'strict',
      network: null,
      outputBytesMax: megabyte,
      ...(this.#setup.rooted === undefined ? {} : { root: this.#usualRoot() }),
      ...change,
      recordDir: `${this.#root}/${id}`,
    }
  }

  #usualRoot(): NonNullable<SandboxSpec['root']> {
    const root = { layers: [this.layer()], writable: false }
    return this.#setup.rooted === 'several users' ? { ...root, hostIds } : root
  }

  async start(spec: SandboxSpec): Promise<Sandbox> {
    this.#recordDirs.push(spec.recordDir)
    return this.own(await this.driver.start(spec))
  }

  /** Remembers a sandbox for the end. */
  own(sandbox: Sandbox): Sandbox {
    this.#started.push(sandbox)
    return sandbox
  }

  async run(spec: SandboxSpec): Promise<{ readonly exit: Exit; readonly lines: readonly string[] }> {
    const sandbox = await this.start(spec)
    const exit = await within(sandbox.exited, 'the program to end')
    return { exit, lines: await this.lines(spec.recordDir) }
  }

  async lines(recordDir: string, options: OutputOptions = {}): Promise<readonly string[]> {
    return (await this.output(recordDir, options)).map((line) => line.text)
  }

  async output(recordDir: string, options: OutputOptions = {}): Promise<readonly OutputLine[]> {
    return await within(Array.fromAsync(this.driver.output(recordDir, options)), 'the output')
  }

  /** Runs the supervisor until it has started the spec; `end` kills it. */
  async supervise(spec: SandboxSpec): Promise<{ end(): Promise<void> }> {
    this.#recordDirs.push(spec.recordDir)
    const [command = '', ...args] = this.#setup.supervisor
    const child = spawn(command, [...args, JSON.stringify(spec)], { stdio: ['ignore', 'pipe', 'inherit'] })
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    const started = new Promise<void>((resolve) => child.stdout.once('data', () => resolve()))
    await within(Promise.race([started, exited]), 'the supervisor to start')
    assert.equal(child.exitCode, null, 'the supervisor stays')
    return {
      async end() {
        child.kill('SIGKILL')
        await within(exited, 'the supervisor to be gone')
      },
    }
  }

  async adopt(recordDir: string): Promise<Sandbox> {
    const adopted = await this.driver.adopt(recordDir)
    assert.ok(adopted !== null, 'a record is found')
    return this.own(adopted)
  }

  /** Starting must be refused, and nothing be left of it. */
  async refused(spec: SandboxSpec, code: string): Promise<Error> {
    const error = await this.driver.start(spec).then(
      () => assert.fail('it was started'),
      (thrown: unknown) => thrown,
    )
    assert.ok(isSteadError(error), String(error))
    assert.equal(error.code, code, error.message)
    assert.ok(!existsSync(spec.recordDir), 'no records are left')
    return error
  }
}

/** The value, or an error that names what was waited for. */
export async function within<T>(wanted: Promise<T>, what: string): Promise<T> {
  const late = Promise.withResolvers<never>()
  using _timer = systemClock.after(waitMs, () => late.reject(new Error(`waited ${waitMs} ms for ${what}`)))
  return await Promise.race([wanted, late.promise])
}

/** Looks until it is done; an error names what was waited for. */
export async function until(what: string, done: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + waitMs
  while (!(await done())) {
    assert.ok(systemClock.monotonicMs() < deadlineMs, `waited ${waitMs} ms for ${what}`)
    await pause(20)
  }
}

/** Waits, for what cannot be looked at. */
export function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, delayMs))
}

/** A program that grows `beat` in the shared directory for as long as it runs. */
export function beating(inside: string): string {
  return `while :; do echo x >>${inside}/beat; sleep 0.02; done`
}

/** Size of a file; 0 when there is none. */
export function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}

/** The program goes on. */
export async function assertBeats(host: string): Promise<void> {
  const before = sizeOf(`${host}/beat`)
  await until('a sign of life', () => sizeOf(`${host}/beat`) > before)
}

/** The program does not go on. */
export async function assertStandsStill(host: string): Promise<void> {
  const before = sizeOf(`${host}/beat`)
  await pause(300)
  assert.equal(sizeOf(`${host}/beat`), before, 'nothing goes on')
}

/** All files below a directory. */
export function filesBelow(directory: string): readonly string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}/${entry.name}`)
}

/** The shared directory, writable. */
export function mountOf({ host, inside }: { readonly host: string; readonly inside: string }): SandboxSpec['mounts'] {
  return [{ source: host, target: inside, access: 'read-write' }]
}

/** To be changed in one place by each case. */
export const noLimits: SandboxSpec['limits'] = { memoryBytes: null, cpuCores: null, pidsMax: null, tmpBytes: null }
