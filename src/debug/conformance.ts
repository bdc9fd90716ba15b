/**
 * What every recipe must do, as tests of node:test, against real processes. For recipes outside this repository as well:
 * call `recipeConformance` in a test file, with programs in the recipe's language.
 *
 * Invariants: a case is decided by what the recipe says it can do: that is proven, and the rest must be refused. No case
 * depends on the speed of the machine; every wait is bounded and ends at once when what it waits for is there.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { duplexPair } from 'node:stream'
import { after, suite, test } from 'node:test'
import { isSteadError } from '../base/index.ts'
import {
  Bench,
  type Case,
  type ConformanceSetup,
  placeOf,
  refusedWith,
  ticksOn,
  until,
  waitMs,
} from './bench.conformance.ts'
import { dapCases } from './dap.conformance.ts'
import { isAlive, listeningSockets, readProcess } from './drivers/proc.ts'
import type { Ability, Frame } from './recipe.ts'

const cases: readonly Case[] = [
  [
    'says what a process is, and does nothing to it',
    null,
    async (bench) => {
      const { pid } = await bench.start('ticking')
      const before = readProcess(pid)
      const listening = listeningSockets(pid)
      const found = await bench.recipe.find(before)
      assert.equal(found?.language, bench.recipe.language)
      assert.ok(found.can.length > 0, JSON.stringify(found.cannot))
      assert.deepEqual(readProcess(pid).start, before.start)
      assert.deepEqual(listeningSockets(pid), listening)
    },
  ],
  [
    'leaves processes of other languages alone',
    null,
    async (bench) => {
      const [command = '', ...args] = bench.setup.other ?? ['sleep', '60']
      const child = spawn(command, args, { stdio: 'ignore' })
      try {
        await once(child, 'spawn')
        assert.equal(await bench.recipe.find(readProcess(child.pid ?? 0)), null)
      } finally {
        child.kill('SIGKILL')
      }
    },
  ],
  [
    'takes back what it did, and the program runs on',
    null,
    async (bench) => {
      const program = await bench.start('ticking')
      const attached = await bench.attach(program.pid)
      assert.match(attached.version, /^\d+\.\d+/)
      assert.ok(attached.effects.every((effect) => effect.length > 0))
      await attached[Symbol.asyncDispose]()
      assert.ok(bench.isClosed(program.pid))
      await ticksOn(program)
      // A second time is like the first.
      const again = await bench.attach(program.pid)
      await again[Symbol.asyncDispose]()
      assert.ok(bench.isClosed(program.pid))
    },
  ],
  [
    'shows where a program stands',
    'stack',
    async (bench) => {
      const program = await bench.start('ticking')
      await using attached = await bench.attach(program.pid)
      const { threads } = await attached.stack()
      assert.ok(threads.length > 0)
      await ticksOn(program)
    },
  ],
  [
    'shows where a program hangs',
    'stack',
    async (bench) => {
      const program = await bench.start('hanging')
      await using attached = await bench.attach(program.pid)
      let threads = (await attached.stack()).threads
      const spinningIn = (all: typeof threads): Frame | undefined =>
        all.flatMap((thread) => thread.frames).find((frame) => frame.name.includes('spin'))
      // It may be caught in the handler of a signal, as Go's scheduler sends them.
      for (let tries = 0; tries < 10 && spinningIn(threads) === undefined; tries++)
        ({ threads } = await attached.stack())
      const spinning = spinningIn(threads)
      assert.ok(spinning !== undefined, JSON.stringify(threads))
      assert.ok(spinning.line > 0 && spinning.file !== '')
      assert.ok(threads.some((thread) => thread.state === 'running'))
      await attached[Symbol.asyncDispose]()
      assert.ok(bench.isClosed(program.pid))
      assert.ok(isAlive(readProcess(program.pid)))
    },
  ],
  [
    'hands out values without a stop, as often as was asked and no more',
    'snapshot',
    async (bench) => {
      const program = await bench.start('ticking')
      await using attached = await bench.attach(program.pid)
      const nested = bench.setup.nested ?? 'count'
      const expressions = ['count', 'count * 2', 'password', 'neverDeclared', nested]
      const report = await attached.snapshot({ ...placeOf(bench), expressions, hits: 3, timeMs: waitMs })
      assert.equal(report.ended, 'hits')
      assert.equal(report.hits.length, 3)
      assert.ok(report.file.endsWith(bench.setup.probeFile))
      assert.equal(report.line, bench.setup.probeLine)
      for (const { values } of report.hits) {
        const [count, twice, password, unknown, inner] = values
        assert.equal(Number(twice?.value), 2 * Number(count?.value))
        assert.equal(password?.value, '[redacted]')
        if (bench.setup.nested !== undefined) assert.match(JSON.stringify(inner?.value), /api_key\W+\[redacted\]/)
        assert.match(unknown?.error ?? '', /neverDeclared/)
      }
      await ticksOn(program)
    },
  ],
  [
    'hands out values only where a condition holds',
    'snapshot',
    async (bench) => {
      const { pid } = await bench.start('ticking')
      await using attached = await bench.attach(pid)
      const request = { ...placeOf(bench), expressions: ['count'], hits: 2, timeMs: waitMs }
      const { hits } = await attached.snapshot({ ...request, condition: 'count % 5 == 0' })
      assert.equal(hits.length, 2)
      for (const { values } of hits) assert.equal(Number(values[0]?.value) % 5, 0)
    },
  ],
  [
    'ends a snapshot by time, and when it is asked to',
    'snapshot',
    async (bench) => {
      const { pid } = await bench.start('ticking')
      await using attached = await bench.attach(pid)
      const never = { ...placeOf(bench), expressions: ['count'], condition: 'count < 0', hits: 1 }
      const byTime = await attached.snapshot({ ...never, timeMs: 50 })
      assert.deepEqual([byTime.ended, byTime.hits.length], ['time', 0])
      const asked = new AbortController()
      const waiting = attached.snapshot({ ...never, timeMs: waitMs }, asked.signal)
      asked.abort()
      assert.equal((await waiting).ended, 'asked')
    },
  ],
  [
    'says what is wrong with a place or an expression',
    'snapshot',
    async (bench) => {
      const program = await bench.start('ticking')
      await using attached = await bench.attach(program.pid)
      const good = { ...placeOf(bench), expressions: ['count'], hits: 1, timeMs: waitMs }
      await refusedWith('debug.unknown-place', attached.snapshot({ ...good, file: 'no/such/file.xyz' }))
      await refusedWith('debug.unknown-place', attached.snapshot({ ...good, line: 100_000 }))
      // Where it can be told only in the process, the hit says so.
      const wrong = attached.snapshot({ ...good, expressions: ['count +'] })
      const said = await wrong.then(
        ({ hits }) => hits[0]?.values[0]?.error,
        (error: unknown) => (isSteadError(error) && error.code === 'debug.bad-request' ? error.message : undefined),
      )
      assert.ok(said !== undefined && said !== '')
      await ticksOn(program)
    },
  ],
  [
    'shows where the time goes',
    'cpu-profile',
    async (bench) => {
      const program = await bench.start('hanging')
      await using attached = await bench.attach(program.pid)
      const profile = await attached.profile({ kind: 'cpu', durationMs: 500 })
      const total = profile.stacks.reduce((sum, stack) => sum + stack.weight, 0)
      const spinning = profile.stacks.filter((stack) => stack.frames.some((frame) => frame.includes('spin')))
      const spent = spinning.reduce((sum, stack) => sum + stack.weight, 0)
      assert.ok(total > 0 && spent > total / 2, JSON.stringify(profile.stacks.slice(0, 5)))
      assert.ok(profile.raw.text.length > 0)
    },
  ],
  [
    'shows what allocates memory',
    'heap-profile',
    async (bench) => {
      const program = await bench.start('ticking')
      await using attached = await bench.attach(program.pid)
      const profile = await attached.profile({ kind: 'heap', durationMs: 100 })
      assert.equal(profile.unit, 'bytes')
      assert.ok(profile.raw.text.length > 0)
      await ticksOn(program)
    },
  ],
  [
    'leaves nothing behind when whoever attached is killed',
    'snapshot',
    async (bench) => {
      if (bench.setup.holder === null) return
      const program = await bench.start('ticking')
      const [command = '', ...args] = bench.setup.holder
      const holder: ChildProcess = spawn(command, [...args, String(program.pid), bench.setup.probeFile], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const gone = once(holder, 'exit')
      try {
        let said = ''
        holder.stdout?.setEncoding('utf8').on('data', (text: string) => (said += text))
        await until(() => said.includes('attached'), 'the holder to attach')
      } finally {
        holder.kill('SIGKILL')
      }
      await gone
      await until(() => bench.isClosed(program.pid), 'the process to close what was opened in it')
      await until(() => bench.can('snapshot', program.pid), 'another to be let in')
      await ticksOn(program)
    },
  ],
  [
    'ends a snapshot when the process ends',
    'snapshot',
    async (bench) => {
      const program = await bench.startOwn('ticking')
      await using attached = await bench.attach(program.pid)
      const never = { ...placeOf(bench), expressions: ['count'], condition: 'count < 0', hits: 1, timeMs: waitMs }
      const waiting = attached.snapshot(never)
      waiting.catch(() => undefined)
      await ticksOn(program)
      await program.end()
      await assert.rejects(waiting, (error) => isSteadError(error) && /^debug\.(process-gone|lost)$/.test(error.code))
      assert.match(await attached.lost, /ended/)
    },
  ],
  [
    'says that the process ended',
    null,
    async (bench) => {
      const program = await bench.startOwn('ticking')
      const attached = await bench.attach(program.pid)
      const facts = readProcess(program.pid)
      await program.end()
      await until(() => !isAlive(facts), 'the program to end')
      await attached[Symbol.asyncDispose]()
      await refusedWith('debug.process-gone', bench.recipe.attach(facts))
    },
  ],
]

/** Registers the cases for a recipe. */
export function recipeConformance(setup: ConformanceSetup): void {
  suite(`recipe conformance: ${setup.name}`, { skip: setup.skip }, () => {
    const bench = setup.skip === false ? new Bench(setup) : null
    after(() => bench?.end())
    for (const [title, needs, run] of [...cases, ...dapCases]) {
      test(title, { timeout: 4 * waitMs }, async (context) => {
        assert.ok(bench !== null)
        if (needs === null || (await allows(bench, needs))) await run(bench)
        else context.diagnostic(`${bench.recipe.language} refuses ${needs}, and did`)
      })
    }
  })
}

/** Whether the recipe can do it; where it cannot, it must refuse it and have said why. */
async function allows(bench: Bench, ability: Ability): Promise<boolean> {
  const { pid } = await bench.start('ticking')
  const found = await bench.recipe.find(readProcess(pid))
  if (found?.can.includes(ability) === true) return true
  assert.ok((found?.cannot[ability]?.reason ?? '') !== '', `it does not say why it cannot: ${ability}`)
  await using attached = await bench.attach(pid)
  const request = { ...placeOf(bench), expressions: ['count'], hits: 1, timeMs: 100 }
  if (ability === 'stack') await refusedWith('debug.refused', attached.stack())
  if (ability === 'snapshot') await refusedWith('debug.refused', attached.snapshot(request))
  if (ability === 'cpu-profile') await refusedWith('debug.refused', attached.profile({ kind: 'cpu', durationMs: 100 }))
  if (ability === 'heap-profile')
    await refusedWith('debug.refused', attached.profile({ kind: 'heap', durationMs: 100 }))
  if (ability === 'dap') await refusedWith('debug.refused', attached.serveDap(duplexPair()[0]))
  return false
}
