/**
 * Long random sequences of deployments and returns, with failures at any step and with copies deleted between, against a model
 * of the data and of what each release's code can work with. Seeded, so repeatable.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSteadError } from '../base/index.ts'
import { advance, followUp } from './advance.ts'
import { beginDeploy, beginReturn } from './begin.ts'
import { Dice } from './dice.test-helper.ts'
import { assertCodeOnly, checkpointFor, historyOf, type Kept } from './history.ts'
import { branchName, cloneName } from './names.ts'
import { type Copy, retain, type Retention } from './retain.ts'
import { type Migrates, type Rollout, type Seen, type Step, strategies } from './rollout.ts'
import { quiet } from './seen.test-helper.ts'
import { shapeOf } from './shape.ts'
import { stepsOf } from './steps.ts'
import { taskOf } from './task.ts'

/** Data: what was written, and which migrations have run, by the number of the release that brought them. */
interface Data {
  readonly writes: ReadonlySet<number>
  readonly expands: ReadonlySet<number>
  /** Second halves, and files without halves. */
  readonly wholes: ReadonlySet<number>
}

const policy: Retention = { checkpointsMax: 4, checkpointAgeMaxMs: 1e12, branchesMax: 3, branchAgeMaxMs: 1e12 }

class App {
  readonly #dice: Dice
  readonly kept: Kept[] = [{ number: 1, backTo: null, rollout: null }]
  /** Migrations that a release's code knows. */
  readonly #known = new Map<number, ReadonlySet<number>>([[1, new Set()]])
  readonly copies = new Map<string, { readonly copy: Copy; readonly data: Data }>()
  readonly #deleted = new Set<string>()
  /** For each release, the state in which it last gave way: what a return with data has to lead to. */
  readonly #gaveWay = new Map<number, Data>()
  readonly #acknowledged = new Set<number>()
  readonly #forgotten = new Set<number>()
  data: Data = { writes: new Set(), expands: new Set(), wholes: new Set() }
  live = 1
  #nowMs = 0
  readonly counts = new Map<string, number>()

  constructor(seed: number) {
    this.#dice = new Dice(seed)
  }

  deploy(): void {
    const number = this.kept.length + 1
    const migrates = this.#dice.of<Migrates>(['none', 'none', 'expand', 'expand', 'stop'])
    const base = this.#known.get(this.live) ?? new Set()
    const known = migrates === 'none' ? base : new Set([...base, number])
    this.#known.set(number, known)
    const left = [...known].some((migration) => this.data.expands.has(migration) && !this.data.wholes.has(migration))
    const rollout = beginDeploy({
      id: `r${number}`,
      app: 'shop',
      by: 'ann',
      nowMs: this.#nowMs,
      old: this.live,
      new: number,
      strategy: this.#dice.of(strategies),
      migrates,
      contracts: left || migrates === 'expand',
      hasData: true,
      watchMs: 3000,
    })
    const steps = stepsOf(rollout)
    const failing = this.#dice.below(2) === 0 ? (steps[this.#dice.below(steps.length)] ?? null) : null
    this.#run(rollout, null, failing)
  }

  /** Goes back to a random release. Answers what was wrong with that; null: it went back. */
  goBack(): string | null {
    const target = 1 + this.#dice.below(this.kept.length)
    const withData = this.#dice.below(2) === 0
    const history = historyOf(this.kept, this.live)
    let checkpoint: string | null = null
    try {
      if (withData) checkpoint = checkpointFor(history, target, new Set(this.copies.keys()))
      else assertCodeOnly(history, target)
    } catch (error) {
      if (!isSteadError(error)) throw error
      // Refused as gone: it was deleted, or the release gave way to a return with code only, which keeps nothing.
      if (error.code === 'release.data-gone') {
        const next = history.findLast(({ after }) => after === target)
        assert.ok(next?.checkpoint === null || this.#deleted.has(next?.checkpoint ?? ''), error.message)
      }
      return error.code
    }
    if (checkpoint !== null)
      assert.deepEqual(this.copies.get(checkpoint)?.data, this.#gaveWay.get(target), `${checkpoint} for ${target}`)
    const number = this.kept.length + 1
    this.#known.set(number, this.#known.get(target) ?? new Set())
    const failing = this.#dice.of<Step | null>([
      null,
      null,
      'prepare',
      'report',
      ...(withData ? [] : ['exchange' as const]),
    ])
    this.#run(
      beginReturn({
        id: `r${number}`,
        app: 'shop',
        by: 'ann',
        nowMs: this.#nowMs,
        old: this.live,
        new: number,
        target,
        checkpoint,
      }),
      target,
      failing,
    )
    return null
  }

  #run(begun: Rollout, backTo: number | null, failing: Step | null): void {
    const place = this.kept.push({ number: begun.new, backTo, rollout: begun }) - 1
    let rollout = begun
    while (rollout.outcome === null) {
      this.#nowMs += 1000
      const was = rollout
      rollout = advance(rollout, this.#look(rollout, failing), this.#nowMs)
      if (rollout !== was && rollout.step === 'exchange' && was.step === 'prepare') this.#exchange(rollout)
      this.kept[place] = { number: begun.new, backTo, rollout }
      assert.ok(this.#nowMs < 1e12)
    }
    const { kind } = rollout.outcome
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1)
    assert.notEqual(kind, 'stuck')
    const followed = followUp(rollout)
    if (followed === null) {
      this.live = shapeOf(rollout).runs === 'new' ? rollout.new : (rollout.old ?? rollout.new)
      this.#check()
      return
    }
    this.live = rollout.new
    const number = this.kept.length + 1
    this.#known.set(number, this.#known.get(followed.target) ?? new Set())
    this.#run(beginReturn({ ...followed, id: `r${number}`, new: number, nowMs: this.#nowMs }), followed.target, null)
  }

  /** What nodes and gateways would do in a second, and what is seen of it. */
  #look(rollout: Rollout, failing: Step | null): Seen {
    const failed = { state: 'failed', part: 'db', reason: 'it fails' } as const
    const bad = rollout.step === failing
    const shape = shapeOf(rollout)
    if (
      rollout.kind === 'deploy' &&
      ['expand', 'contract'].includes(rollout.step) &&
      !(bad && rollout.step === 'contract')
    ) {
      this.#migrate(rollout.new, shape.schema)
    }
    const runs = [
      ...(shape.runs === 'old' || shape.runs === 'both' ? [rollout.old ?? 0] : []),
      ...(shape.runs === 'new' || shape.runs === 'both' ? [rollout.new] : []),
    ]
    for (const number of runs) this.#write(number)
    if (bad)
      return {
        ...quiet,
        task: { state: 'failed', reason: 'it fails', retry: 'never' },
        resources: failed,
        instances: failed,
        rest: failed,
      }
    const task = taskOf(rollout)
    if (task?.kind === 'checkpoint') {
      this.#keep(task.name, 'checkpoint', this.data)
      if (rollout.step === 'checkpoint') this.#gaveWay.set(rollout.old ?? 0, this.data)
    }
    if (task?.kind === 'clone') this.#keep(task.name, 'clone', this.copies.get(task.from)?.data ?? this.data)
    return { ...quiet, task: task === null ? null : { state: 'done', lines: [], result: null } }
  }

  #migrate(number: number, schema: 'old' | 'expanded' | 'new'): void {
    const known = this.#known.get(number) ?? new Set()
    if (schema === 'old') return
    const wholes = schema === 'new' ? new Set([...this.data.wholes, ...known]) : this.data.wholes
    this.data = { ...this.data, expands: new Set([...this.data.expands, ...known]), wholes }
  }

  #write(number: number): void {
    const known = this.#known.get(number) ?? new Set()
    for (const one of known) assert.ok(this.data.expands.has(one), `release ${number} runs, and ${one} has not run`)
    for (const one of this.data.wholes) assert.ok(known.has(one), `release ${number} runs, and cannot work with ${one}`)
    this.#acknowledged.add(this.#nowMs)
    this.data = { ...this.data, writes: new Set([...this.data.writes, this.#nowMs]) }
  }

  #exchange(rollout: Rollout): void {
    if (!shapeOf(rollout).exchanged) return
    const from = this.copies.get(cloneName(rollout.new))
    assert.ok(from !== undefined)
    this.#keep(branchName(rollout.new), 'branch', this.data)
    this.#gaveWay.set(rollout.old ?? 0, this.data)
    this.copies.delete(cloneName(rollout.new))
    this.data = from.data
  }

  #keep(name: string, kind: Copy['kind'], data: Data): void {
    if (!this.copies.has(name)) this.copies.set(name, { copy: { name, kind, createdAtMs: this.#nowMs }, data })
  }

  #check(): void {
    this.#write(this.live)
    const copies = [...this.copies.values()].map(({ copy }) => copy)
    for (const { name } of retain(historyOf(this.kept, this.live), copies, null, policy, this.#nowMs)) {
      for (const write of this.copies.get(name)?.data.writes ?? []) this.#forgotten.add(write)
      this.copies.delete(name)
      this.#deleted.add(name)
    }
    const there = [this.data, ...[...this.copies.values()].map(({ data }) => data)]
    for (const write of this.#acknowledged) {
      assert.ok(there.some(({ writes }) => writes.has(write)) || this.#forgotten.has(write), `${write} is gone`)
    }
    // However few are kept: the way back by one release is there.
    const history = historyOf(this.kept, this.live)
    const live = history.find(({ number }) => number === this.live)
    if (live?.after !== null && live?.checkpoint !== null && live !== undefined && live.backTo === null) {
      assert.equal(checkpointFor(history, live.after, new Set(this.copies.keys())), live.checkpoint)
    }
    assert.ok(this.copies.size <= policy.checkpointsMax + policy.branchesMax + 6, `${this.copies.size} copies`)
  }
}

test('R15, R23, R24: sequences of 60 rollouts lead back to what was, lose nothing, and run no code on a schema it cannot work with', (context) => {
  const codes = new Map<string, number>()
  const outcomes = new Map<string, number>()
  for (let seed = 1; seed <= 25; seed += 1) {
    const app = new App(seed)
    const dice = new Dice(seed + 1000)
    while (app.kept.length < 60) {
      if (dice.below(5) < 3) app.deploy()
      else {
        const code = app.goBack() ?? 'went back'
        codes.set(code, (codes.get(code) ?? 0) + 1)
      }
    }
    for (const [kind, count] of app.counts) outcomes.set(kind, (outcomes.get(kind) ?? 0) + count)
  }
  context.diagnostic(JSON.stringify([...outcomes, ...codes]))
  // The dice reach every outcome but stuck, and every reason not to go back.
  assert.equal(outcomes.size, 5)
  for (const code of [
    'went back',
    'release.data-gone',
    'release.schema-moved',
    'release.not-served',
    'release.already-live',
  ]) {
    assert.ok((codes.get(code) ?? 0) > 0, code)
  }
})
