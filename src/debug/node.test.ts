/** The recipe for Node where a process is not as usual: signals of its own, an inspector that is open, compiled files. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock, systemRandom } from '../base/index.ts'
import { until } from './bench.conformance.ts'
import { nodeRecipe } from './drivers/node.ts'
import { isAlive, listeningSockets, readProcess } from './drivers/proc.ts'

const recipe = nodeRecipe({ clock: systemClock, random: systemRandom, openMs: 30_000 })

/** A Node that has printed its first line. */
class Program implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #gone: Promise<unknown>
  #printed = ''

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    // A port of its own: on this machine's network the usual one may be somebody else's.
    const own = env['NODE_OPTIONS'] === undefined ? ['--inspect-port=0'] : []
    const stdio: ['ignore', 'pipe', 'ignore'] = ['ignore', 'pipe', 'ignore']
    this.#child = spawn(process.execPath, [...own, ...args], { env: { ...process.env, ...env }, stdio })
    this.#gone = once(this.#child, 'exit')
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.#printed += text))
  }

  static async start(...args: readonly string[]): Promise<Program> {
    return await Program.started(new Program(args))
  }

  static async started(program: Program): Promise<Program> {
    await until(() => program.printed.includes('\n'), 'the program to print')
    return program
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get printed(): string {
    return this.#printed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#gone
  }
}

test('a program that handles the signal itself is told of, and lives', async () => {
  const script = `process.on('SIGUSR1', () => console.log('mine')); console.log('up'); setInterval(() => {}, 1000)`
  await using program = await Program.start('-e', script)
  const facts = readProcess(program.pid)
  const impatient = nodeRecipe({ clock: systemClock, random: systemRandom, openMs: 1000 })
  await assert.rejects(impatient.attach(facts), { code: 'debug.refused', message: /handles that signal itself$/ })
  await until(() => program.printed.includes('mine'), 'its own handler to run')
  assert.ok(isAlive(facts))
})

test('a program that handles the signal itself is looked into where a variable prepared it', async () => {
  const script = `process.on('SIGUSR1', () => console.log('mine')); console.log('up'); setInterval(() => {}, 9)`
  const prepared = new Program(['-e', script], { NODE_OPTIONS: '--inspect=127.0.0.1:0' })
  await using program = await Program.started(prepared)
  await using attached = await recipe.attach(readProcess(program.pid))
  assert.equal((await attached.stack()).threads.length, 1)
  assert.doesNotMatch(program.printed, /mine/)
})

test('a program that the signal would end never gets it', async () => {
  await using program = await Program.start('--disable-sigusr1', '-e', `console.log('up'); setInterval(() => {}, 1000)`)
  const facts = readProcess(program.pid)
  const found = await recipe.find(facts)
  assert.deepEqual(found?.can, [])
  assert.match(found.cannot.stack?.reason ?? '', /the signal would end it$/)
  await assert.rejects(recipe.attach(facts), { code: 'debug.refused' })
  assert.ok(isAlive(facts))
})

test('an inspector that was open stays open', async () => {
  await using program = await Program.start(
    '--inspect=127.0.0.1:0',
    '-e',
    `console.log('up'); setInterval(() => {}, 9)`,
  )
  const before = listeningSockets(program.pid).map(({ localPort }) => localPort)
  assert.equal(before.length, 1)
  const attached = await recipe.attach(readProcess(program.pid))
  assert.match(attached.effects[0] ?? '', /was open on port \d+ already and stays open$/)
  await attached.stack()
  await attached[Symbol.asyncDispose]()
  assert.deepEqual(
    listeningSockets(program.pid).map(({ localPort }) => localPort),
    before,
  )
})

test('in a network that others share no port stays open while a debugger is there, and no thread after it', async () => {
  await using program = await Program.start('-e', `console.log('up'); setInterval(() => {}, 9)`)
  const threads = (): number => readdirSync(`/proc/${program.pid}/task`).length
  const before = threads()
  const attached = await recipe.attach(readProcess(program.pid))
  assert.match(
    attached.effects[0] ?? '',
    /^opened its inspector on 127\.0\.0\.1:\d+ for \d+ ms; a thread in it carries on/,
  )
  assert.deepEqual(listeningSockets(program.pid), [])
  assert.ok(threads() > before)
  assert.equal((await attached.stack()).threads.length, 1)
  await attached[Symbol.asyncDispose]()
  await until(() => threads() <= before, 'the thread to end')
})

test('two debuggers do not close the inspector for each other', async () => {
  await using program = await Program.start('-e', `console.log('up'); setInterval(() => {}, 9)`)
  const first = await recipe.attach(readProcess(program.pid))
  const second = await recipe.attach(readProcess(program.pid))
  await first[Symbol.asyncDispose]()
  assert.equal((await second.stack()).threads.length, 1)
  await second[Symbol.asyncDispose]()
  assert.deepEqual(listeningSockets(program.pid), [])
})

test('worker threads are seen, whatever the main thread does', async () => {
  const worker = `const dig = () => { for (;;); }; setTimeout(dig, 1)`
  const script = `
    const { Worker } = require('node:worker_threads')
    new Worker(${JSON.stringify(worker)}, { eval: true })
    new Worker('Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)', { eval: true })
    function spin() { console.log('up'); for (;;); }
    setTimeout(spin, 1000)`
  await using program = await Program.start('-e', script)
  await using attached = await recipe.attach(readProcess(program.pid))
  const { threads } = await attached.stack()
  const frames = threads.map((thread) => thread.frames.map((frame) => frame.name))
  assert.equal(threads.length, 3, JSON.stringify(threads))
  assert.ok(frames[0]?.includes('spin'), JSON.stringify(frames))
  assert.ok(
    frames.slice(1).some((names) => names.includes('dig')),
    JSON.stringify(frames),
  )
})

test('places are those that were written, through a source map', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'stead-debug-map-'))
  try {
    // Lines 5 and 6 of what was written are lines 3 and 4 of what runs.
    const map = { version: 3, sources: ['../src/ticker.ts'], names: [], mappings: ';;AAIA;AACA' }
    const lines = ['let total = 0', 'setInterval(() => {', '  total++', '  void total', '}, 10)', `console.log('up')`]
    writeFileSync(join(dir, 'ticker.js.map'), JSON.stringify(map))
    writeFileSync(join(dir, 'ticker.js'), `${lines.join('\n')}\n//# sourceMappingURL=ticker.js.map\n`)
    await using program = await Program.start(join(dir, 'ticker.js'))
    await using attached = await recipe.attach(readProcess(program.pid))
    const request = { file: 'src/ticker.ts', line: 6, expressions: ['total > 0'], hits: 1, timeMs: 30_000 }
    const { file, line, hits } = await attached.snapshot(request)
    assert.deepEqual([file.endsWith('/src/ticker.ts'), line, hits[0]?.values[0]?.value], [true, 6, true])
    // As the person's own folder has it, below which the program has no folder of that name.
    const below = await attached.snapshot({ ...request, file: 'shop/web/src/ticker.ts' })
    assert.deepEqual([below.file, below.line, below.hits.length], [file, 6, 1])
    const nowhere = attached.snapshot({ ...request, file: 'web/src/other.ts' })
    await assert.rejects(nowhere, { code: 'debug.unknown-place', message: /'web\/src\/other\.ts'/ })
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})

test('a process that is stopped is not waited for', async () => {
  await using program = await Program.start('-e', `console.log('up'); setInterval(() => {}, 9)`)
  process.kill(program.pid, 'SIGSTOP')
  await until(() => readProcess(program.pid).state === 'T', 'the process to stop')
  await assert.rejects(recipe.attach(readProcess(program.pid)), {
    code: 'debug.refused',
    message: /is stopped by a signal$/,
  })
})

test('a hot line is not looked at for long unless forced, and then within its budget', async () => {
  const script = `let n = 0
function spin() { for (let i = 0; i < 100; i++) step(i); setImmediate(spin) }
function step(i) {
  n += i
}
console.log('up'); spin()`
  const dir = mkdtempSync(join(tmpdir(), 'stead-hot-'))
  try {
    writeFileSync(join(dir, 'hot.cjs'), script)
    await using program = await Program.start(join(dir, 'hot.cjs'))
    await using attached = await recipe.attach(readProcess(program.pid))
    const never = { file: 'hot.cjs', line: 4, expressions: ['i'], condition: 'i < 0', hits: 1, timeMs: 60_000 }
    const refused = await attached.snapshot(never)
    assert.deepEqual([refused.ended, refused.hits], ['too-often', []])
    assert.ok((refused.passes ?? 0) < 1000 && (refused.costMs ?? 0) < 1000, JSON.stringify(refused))
    const forced = await attached.snapshot({ ...never, force: true, cpuMs: 100 })
    assert.equal(forced.ended, 'cost')
    assert.ok((forced.costMs ?? 0) >= 100, JSON.stringify(forced))
    const few = await attached.snapshot({ file: 'hot.cjs', line: 4, expressions: ['i'], hits: 5, timeMs: 60_000 })
    assert.deepEqual([few.ended, few.hits.length, few.passes], ['hits', 5, 5])
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})

test('a loop that calls what was probed has its pace again', async () => {
  // What it does in a millisecond of its own processor time, each tenth of a second: others on this machine are no matter.
  const script = `let n = 0, at = performance.now(), used = process.cpuUsage()
function step() {
  n++
}
function report() {
  const { user, system } = process.cpuUsage(used)
  console.log((1000 * n) / (user + system))
  n = 0; at = performance.now(); used = process.cpuUsage()
}
function spin() { for (let i = 0; i < 300; i++) step(); let x = 0; for (let i = 0; i < 1e6; i++) x += i; if (performance.now() - at >= 100) report(); setImmediate(spin) }
spin()`
  const dir = mkdtempSync(join(tmpdir(), 'stead-pace-'))
  try {
    writeFileSync(join(dir, 'pace.cjs'), script)
    await using program = await Program.start(join(dir, 'pace.cjs'))
    await using attached = await recipe.attach(readProcess(program.pid))
    const paces = async (count: number): Promise<readonly number[]> => {
      const lines = (): readonly string[] => program.printed.split('\n').slice(0, -1)
      const from = lines().length
      await until(() => lines().length >= from + count, 'the program to print')
      return lines().slice(from).map(Number)
    }
    await paces(10)
    const before = Math.max(...(await paces(5)))
    for (let round = 0; round < 3; round++) {
      await attached.snapshot({ file: 'pace.cjs', line: 3, expressions: ['n'], hits: 10, timeMs: 30_000 })
      await paces(5)
      const after = Math.max(...(await paces(5)))
      assert.ok(after > before * 0.6, `${after} of ${before}`)
    }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})
