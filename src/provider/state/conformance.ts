/**
 * A suite for who writes a service that keeps state of its own: the program and its hooks are run as plain processes, as a
 * node would run them, and what it acknowledged must be in what was copied. In any language: it knows only commands, exit
 * codes and files.
 *
 * Invariant: disposing ends every process it started and removes every file.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { cp, lstat, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { randomId, sleep, systemClock, systemRandom } from '../../base/index.ts'
import type { StateOptions } from '../../model/index.ts'

/** Longest wait for anything here; what holds is seen at once. */
const patienceMs = 30_000
const lookMs = 50
const wordsMax = 4000

/** A service with state, as its author knows it. */
export interface StateSubject {
  /** Directory of its code, in which everything is run. */
  readonly cwd: string
  readonly run: readonly [string, ...string[]]
  readonly state: StateOptions
  /** Beside what the platform tells it. */
  readonly env?: Readonly<Record<string, string>>
  /** Has the service on this port keep an item; resolves when that is acknowledged, rejects when it is not. */
  write(port: number, item: number): Promise<void>
  /** Everything it has; rejects while it does not serve. */
  items(port: number): Promise<readonly number[]>
  /** Files, by their paths in the directory, that `verify` need not know damage of, as they can be made anew. */
  readonly derived?: readonly string[]
}

/** Defines the suite under a name. */
export function stateConformance(
  name: string,
  subject: StateSubject,
  options: { readonly skip?: string | false } = {},
): void {
  suite(`state: ${name}`, { skip: options.skip ?? false, timeout: 240_000 }, () => {
    test('what was acknowledged is there after the service was asked to end, and was started again', async () => {
      await using host = await Host.make(subject)
      await host.start()
      for (let item = 1; item <= 20; item += 1) await host.write(item)
      await host.stop()
      await host.start()
      assert.deepEqual(await host.items(), range(1, 20))
    })

    test('a copy that is made at rest, under writes, holds what was acknowledged before, and starts', async () => {
      await using host = await Host.make(subject)
      await host.start()
      const load = host.load()
      await load.reached(10)
      const before = load.acknowledged()
      await host.hook('quiesce')
      await host.hook('checkpoint')
      await using first = await host.copy()
      await sleep(systemClock, 100)
      await using second = await host.copy()
      assert.deepEqual(
        await picture(first.dir),
        await picture(second.dir),
        'something was written while it was at rest',
      )
      await host.hook('quiesce', ['resume'])
      await load.reached(load.acknowledged().length + 5)
      const written = await load.stop()
      await using back = await Host.make(subject, first.dir)
      await back.hook('restore')
      await back.hook('verify')
      await back.start()
      const items = await back.items()
      assert.deepEqual(
        before.filter((item) => !items.includes(item)),
        [],
        'acknowledged, and not in the copy',
      )
      assert.deepEqual(
        items.filter((item) => item > Math.max(...written) + 1),
        [],
        'never written, and in the copy',
      )
    })

    test('every hook can be called twice, and nothing is lost', async () => {
      await using host = await Host.make(subject)
      await host.start()
      await host.write(1)
      for (const more of [[], [], ['resume'], ['resume']]) {
        await host.hook('quiesce', more)
        if (more.length === 0) await host.hook('checkpoint')
      }
      await host.write(2)
      await host.stop()
      for (const hook of ['restore', 'restore', 'verify', 'verify'] as const) await host.hook(hook)
      await host.start()
      assert.deepEqual(await host.items(), [1, 2])
    })

    test('it goes on by itself when nobody tells it to: whoever asked for rest may have died', async () => {
      await using host = await Host.make(subject, null, 300)
      await host.start()
      await host.hook('quiesce')
      await host.write(1)
      assert.deepEqual(await host.items(), [1])
    })

    test(
      'one flipped byte in a copy is found',
      { skip: subject.state.verify === undefined && 'no hook verify' },
      async () => {
        await using host = await Host.make(subject)
        await host.start()
        for (let item = 1; item <= 20; item += 1) await host.write(item)
        await host.hook('quiesce')
        await host.hook('checkpoint')
        await using copy = await host.copy()
        await host.hook('quiesce', ['resume'])
        const found = await picture(copy.dir)
        const files = [...found.keys()].filter((path) => !(subject.derived ?? []).includes(path))
        assert.ok(
          files.some((path) => (found.get(path) ?? '') !== ''),
          'there is nothing that could be damaged',
        )
        for (const path of files) {
          await using damaged = await Host.make(subject, copy.dir)
          const bytes = await readFile(join(damaged.dir, path))
          if (bytes.length === 0) continue
          const middle = Math.floor(bytes.length / 2)
          bytes.writeUInt8(bytes.readUInt8(middle) ^ 1, middle)
          await writeFile(join(damaged.dir, path), bytes)
          await assert.rejects(damaged.hook('verify'), `a damaged ${path} was found whole`)
        }
      },
    )
  })
}

interface Load {
  acknowledged(): readonly number[]
  /** Resolves when so many are acknowledged. */
  reached(count: number): Promise<void>
  stop(): Promise<readonly number[]>
}

/** One service on files of its own. */
class Host implements AsyncDisposable {
  readonly dir: string
  readonly #subject: StateSubject
  readonly #pauseMs: number
  readonly #instance = `suite-${randomId(systemRandom)}`
  readonly #loads: Load[] = []
  #port = 0
  #child: ChildProcess | null = null
  #words = ''

  private constructor(dir: string, subject: StateSubject, pauseMs: number) {
    this.dir = dir
    this.#subject = subject
    this.#pauseMs = pauseMs
  }

  /** On the files of `from`, or on none. */
  static async make(subject: StateSubject, from: string | null = null, pauseMs = patienceMs): Promise<Host> {
    const dir = await mkdtemp(join(tmpdir(), 'stead-state-'))
    if (from !== null) await copyFiles(from, dir)
    return new Host(dir, subject, pauseMs)
  }

  get #env(): NodeJS.ProcessEnv {
    const told = { STEAD_STATE_DIR: this.dir, STEAD_INSTANCE: this.#instance, STEAD_GENERATION: '1' }
    return {
      ...process.env,
      ...this.#subject.env,
      ...told,
      STEAD_PAUSE_MS: String(this.#pauseMs),
      PORT: String(this.#port),
    }
  }

  /** Starts it and waits until it answers. */
  async start(): Promise<void> {
    this.#port = await freePort()
    const [program, ...words] = this.#subject.run
    const child = spawn(program, words, { cwd: this.#subject.cwd, env: this.#env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (piece: Buffer) => (this.#words = `${this.#words}${String(piece)}`.slice(-wordsMax)))
    await again(`it serves; it said: ${this.#words}`, async () => {
      assert.equal(child.exitCode, null, `it has ended: ${this.#words}`)
      await this.#subject.items(this.#port)
    })
  }

  /** Asks it to end. */
  async stop(): Promise<void> {
    const child = this.#child
    if (child === null || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once('close', resolve))
    child.kill('SIGTERM')
    using _late = systemClock.after(patienceMs, () => void child.kill('SIGKILL'))
    await ended
  }

  async items(): Promise<readonly number[]> {
    return [...(await this.#subject.items(this.#port))].toSorted((a, b) => a - b)
  }

  /** As one that is not acknowledged in time is a failure. */
  async write(item: number): Promise<void> {
    const late = Promise.withResolvers<never>()
    using _timer = systemClock.after(patienceMs, () => late.reject(new Error(`${item} was not acknowledged`)))
    await Promise.race([this.#subject.write(this.#port, item), late.promise])
  }

  /** Runs a hook to its end; nothing where it is not declared. Rejects with what it said. */
  async hook(hook: 'quiesce' | 'checkpoint' | 'restore' | 'verify', more: readonly string[] = []): Promise<void> {
    const declared = this.#subject.state[hook]
    if (declared === undefined) return
    const [program, ...words] = declared
    const child = spawn(program, [...words, ...more], {
      cwd: this.#subject.cwd,
      env: this.#env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let said = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (piece: Buffer) => (said += String(piece)))
    using _late = systemClock.after(patienceMs, () => void child.kill('SIGKILL'))
    const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve))
    assert.equal(code, 0, `${hook} ${more.join(' ')} ended with ${String(code)}: ${said}`)
  }

  /** A copy of the files as they are. */
  copy(): Promise<Host> {
    return Host.make(this.#subject, this.dir)
  }

  /** Keeps items one after another. */
  load(): Load {
    const done: number[] = []
    let going = true
    const lane = async (): Promise<void> => {
      for (let item = 1; going; item += 1) {
        await this.write(item)
        done.push(item)
      }
    }
    const running = lane()
    running.catch(() => {})
    const load: Load = {
      acknowledged: () => [...done],
      reached: (count) => again(`${count} items are acknowledged`, () => assert.ok(done.length >= count)),
      async stop() {
        going = false
        await running
        return done
      },
    }
    this.#loads.push(load)
    return load
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const load of this.#loads) await load.stop().catch(() => null)
    await this.stop()
    await rm(this.dir, { recursive: true, force: true })
  }
}

/** Until it does not throw any more, or patience is over. */
async function again(what: string, look: () => unknown): Promise<void> {
  for (const endMs = systemClock.monotonicMs() + patienceMs; ; await sleep(systemClock, lookMs)) {
    try {
      await look()
      return
    } catch (error) {
      if (systemClock.monotonicMs() > endMs) throw new Error(`not within ${patienceMs} ms: ${what}`, { cause: error })
    }
  }
}

/** Files and directories, and nothing else: a socket is no state. */
async function copyFiles(from: string, to: string): Promise<void> {
  const filter = async (path: string): Promise<boolean> => {
    const found = await lstat(path)
    return found.isFile() || found.isDirectory()
  }
  await cp(from, to, { recursive: true, filter })
}

/** The files below a directory with what is in them. */
async function picture(dir: string): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>()
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    found.set(path.slice(dir.length + 1), (await readFile(path)).toString('hex'))
  }
  return found
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

function range(first: number, last: number): readonly number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index)
}
