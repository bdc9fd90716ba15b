/**
 * Submitted jobs with seeded accidents: nodes that go and come, are closed, drained and reserved, controls that die between writing
 * and telling, messages that never arrive, programs that fail, accounts whose limits change. Held: no task runs twice at once, no
 * node is overfull, everything comes to its end.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSteadError, seededRandom } from '../base/index.ts'
import type { NodeOffer, TaskEnd, TaskExit, TasksDownward } from '../protocol/index.ts'
import { BatchCore, type BatchEvent, type Submission, submissionDefaults } from './index.ts'
import { recordsOf } from './fixtures/records.ts'

const offer: NodeOffer = { cpu: 4, memoryBytes: 8 * 2 ** 30, gpus: null, labels: {}, address: '127.0.0.1' }
const seeds = 60

/** A node that does as it is told. */
class PlayedNode {
  readonly name: string
  connected = true
  readonly cpuOf = new Map<number, number>()
  readonly running = new Map<string, number>()
  readonly ended = new Map<string, TaskEnd>()

  constructor(name: string) {
    this.name = name
  }

  hear({ start, stop, over }: Omit<TasksDownward, 'type' | 'epoch'>, nowMs: number): TaskEnd[] {
    const ends: TaskEnd[] = []
    for (const { task, job } of start) {
      const known = this.ended.get(task)
      if (known !== undefined) ends.push(known)
      else if (!this.running.has(task)) this.running.set(task, job)
    }
    for (const { task, graceMs } of stop)
      if (graceMs !== null && this.running.has(task)) ends.push(this.end(task, nowMs, 143))
    for (const job of over) {
      for (const [task, of] of this.running) if (of === job) this.running.delete(task)
      for (const task of this.ended.keys()) if (Number(task.split('-')[0]) === job) this.ended.delete(task)
    }
    return ends
  }

  end(task: string, nowMs: number, code: number): TaskEnd {
    const exit: TaskExit = { cause: 'code', code, signal: null, sentence: `ended with code ${code}` }
    const end = { task, endedMs: nowMs, exit }
    this.running.delete(task)
    this.ended.set(task, end)
    return end
  }
}

class Simulation {
  readonly store = new Map<string, unknown>()
  readonly nodes = ['a', 'b', 'c'].map((name) => new PlayedNode(name))
  readonly dice: (sides: number) => number
  readonly jobs = new Map<number, Submission>()
  core: BatchCore
  nowMs = 1000
  /** What nodes have said and nobody has heard yet. */
  heard: TaskEnd[] = []

  constructor(seed: number) {
    const random = seededRandom(seed)
    this.dice = (sides) => Math.floor((((random.bytes(1)[0] ?? 0) * 256 + (random.bytes(1)[0] ?? 0)) / 65_536) * sides)
    this.core = BatchCore.restore(recordsOf(this.store), this.nowMs)
    for (const node of this.nodes) this.hello(node)
  }

  apply(event: BatchEvent): number | null {
    const id = this.core.apply(event, this.nowMs)
    const { writes, tells } = this.core.take()
    for (const [key, value] of writes)
      if (value === null) this.store.delete(key)
      else this.store.set(key, JSON.parse(JSON.stringify(value)))
    for (const [name, tell] of tells) {
      const node = this.nodes.find((one) => one.name === name)
      // What is told to a node that is away is lost.
      if (node?.connected === true) this.heard.push(...node.hear(tell, this.nowMs))
    }
    return id
  }

  hello(node: PlayedNode): void {
    node.connected = true
    const jobs = [
      ...new Set([...node.running.values(), ...[...node.ended.keys()].map((task) => Number(task.split('-')[0]))]),
    ]
    const { name } = node
    this.apply({
      kind: 'node-came',
      node: name,
      offer,
      running: [...node.running.keys()],
      ended: [...node.ended.values()],
      jobs,
    })
  }

  /** A control dies with what it had heard and not written, and another comes. */
  restart(): void {
    this.heard = []
    this.core = BatchCore.restore(recordsOf(this.store), this.nowMs)
    this.core.take()
    for (const node of this.nodes) if (node.connected) this.hello(node)
  }

  deliver(): void {
    const ended = this.heard.splice(0)
    if (ended.length > 0) this.apply({ kind: 'ended', ended })
  }

  submit(): void {
    const { dice } = this
    const shape = dice(4)
    const unended = [...this.core.ledger.unended]
    const submission: Submission = {
      ...submissionDefaults,
      name: 'x',
      argv: ['true'],
      needs: { ...submissionDefaults.needs, cpu: 1 + dice(4) },
      array:
        shape === 1
          ? { ranges: [{ from: 0, to: dice(5), step: 1 }], atMost: dice(2) === 0 ? null : 1 + dice(2) }
          : null,
      gang: shape === 2 ? 1 + dice(3) : null,
      retries: dice(3),
      requeue: dice(3) === 0,
      queue: dice(4) === 0 ? 'urgent' : 'default',
      timeLimitMs: dice(3) === 0 ? 50 + dice(200) : null,
      ...(shape > 0 && shape < 3 && dice(3) === 0 ? { onePerNode: true } : {}),
      ...this.#reservation(),
      after: unended.length > 0 && dice(4) === 0 ? [{ job: unended[dice(unended.length)] ?? 0, when: 'end' }] : [],
    }
    try {
      const id = this.apply({ kind: 'submit', submission, by: 'ann' })
      this.jobs.set(id ?? 0, submission)
    } catch (error) {
      // So many nodes may be gone that it could never start.
      const known = ['scheduler.impossible', 'scheduler.unknown-name', 'batch.no-node']
      if (!isSteadError(error) || !known.includes(error.code)) throw error
    }
  }

  #reservation(): Partial<Submission> {
    const [reservation] = [...this.core.ledger.reservations.keys()]
    return reservation === undefined || this.dice(3) > 0 ? {} : { reservation }
  }

  /** What people set. */
  #order(kind: number, node: string): void {
    const { dice } = this
    if (kind === 0) {
      const state = (['open', 'open', 'cordoned', 'drained'] as const)[dice(4)] ?? 'open'
      if (this.core.nodes.get(node) !== undefined) this.apply({ kind: 'set-node', node, state, by: 'bob' })
    } else if (kind === 1) {
      const [name] = [...this.core.ledger.reservations.keys()]
      if (name !== undefined) return void this.apply({ kind: 'release', reservation: name })
      const fromMs = this.nowMs + dice(100)
      const nodes = this.core.nodes.get(node) === undefined ? [] : [node]
      const reservation = { name: `r${this.nowMs}`, nodes, fromMs, untilMs: fromMs + 1 + dice(300), by: 'bob' }
      if (this.core.nodes.size > 0) this.apply({ kind: 'reserve', reservation })
    } else {
      const cpu = dice(2) === 0 ? null : 4 + dice(8)
      const limits = { name: 'ann', weight: 1 + dice(3), cpu, memoryBytes: null, gpus: null, tasks: null }
      this.apply({ kind: 'set-account', account: limits })
    }
  }

  /** Nothing that people have set is in the way any more. */
  clear(): void {
    for (const { name } of this.nodes) this.apply({ kind: 'set-node', node: name, state: 'open', by: 'bob' })
    for (const name of this.core.ledger.reservations.keys()) this.apply({ kind: 'release', reservation: name })
    const limits = { name: 'ann', weight: 1, cpu: null, memoryBytes: null, gpus: null, tasks: null }
    this.apply({ kind: 'set-account', account: limits })
    // What waits for a reservation that is over waits until somebody sees to it.
    for (const job of this.core.ledger.unended)
      if (this.jobs.get(job)?.reservation !== undefined) this.apply({ kind: 'cancel', job, index: null, by: 'ann' })
  }

  step(accidents: boolean): void {
    const { dice, nodes } = this
    this.nowMs += 1 + dice(20)
    const node = nodes[dice(nodes.length)] ?? nodes[0]
    assert.ok(node)
    const kind = dice(accidents ? 17 : 6)
    if (kind < 6) {
      const [task] = [...node.running.keys()].slice(dice(4))
      if (task === undefined || !node.connected) return
      const code = [0, 0, 0, 1, 75][accidents ? dice(5) : 0] ?? 0
      this.heard.push(node.end(task, this.nowMs, code))
    } else if (kind < 9) this.submit()
    else if (kind === 9) this.restart()
    else if (kind === 10) {
      if (!node.connected) return this.hello(node)
      node.connected = false
      this.heard = this.heard.filter(({ task }) => !node.ended.has(task))
      this.apply({ kind: 'node-away', node: node.name })
    } else if (kind === 11 && !node.connected) {
      // It was switched off: nothing runs there any more.
      node.running.clear()
      node.ended.clear()
      this.apply({ kind: 'node-lost', node: node.name })
    } else if (kind === 12) {
      const [job = 0] = [...this.core.ledger.unended].slice(dice(5))
      if (job === 0) return
      const indexes = this.core.ledger.need(job).tasks.count
      this.apply({ kind: 'cancel', job, index: dice(2) === 0 ? null : dice(indexes), by: 'ann' })
    } else if (kind > 13) this.#order(kind - 14, node.name)
    else this.apply({ kind: 'time' })
    if (dice(3) > 0) this.deliver()
  }

  check(seed: number): void {
    const seen = new Map<string, string>()
    for (const { name, running } of this.nodes) {
      let cpu = 0
      for (const [task, job] of running) {
        const which = task.slice(0, task.lastIndexOf('-'))
        assert.equal(seen.get(which), undefined, `seed ${seed}: ${task} runs on ${name} and ${seen.get(which)}`)
        seen.set(which, name)
        cpu += this.jobs.get(job)?.needs.cpu ?? 0
        const one = this.jobs.get(job)?.onePerNode !== true
        assert.ok(one || [...running.values()].filter((other) => other === job).length === 1, `seed ${seed}: ${task}`)
      }
      assert.ok(cpu <= offer.cpu, `seed ${seed}: ${name} holds ${cpu} cores`)
    }
    for (const [id, { array }] of this.jobs) {
      const atOnce = this.nodes.flatMap(({ running }) => [...running.values()].filter((job) => job === id)).length
      if (array?.atMost !== null && array !== null)
        assert.ok(atOnce <= array.atMost, `seed ${seed}: ${atOnce} of job ${id} at once`)
    }
  }
}

test('whatever happens to nodes and control, no task runs twice at once and every job comes to its end', () => {
  for (let seed = 1; seed <= seeds; seed++) {
    const simulation = new Simulation(seed)
    const urgent = { name: 'urgent', priority: 5, preempts: true, timeLimitMs: null }
    simulation.apply({ kind: 'set-queue', queue: urgent })
    for (let round = 0; round < 120; round++) {
      simulation.step(true)
      simulation.check(seed)
    }
    for (const node of simulation.nodes) simulation.hello(node)
    simulation.clear()
    for (let round = 0; simulation.core.ledger.unended.size > 0; round++) {
      assert.ok(round < 3000, `seed ${seed}: ${[...simulation.core.ledger.unended].join(', ')} come to their end`)
      simulation.step(false)
      simulation.deliver()
      simulation.apply({ kind: 'time' })
      simulation.check(seed)
    }
    for (const job of simulation.core.ledger.jobs.values()) assert.equal(job.tasks.over, job.tasks.count)
  }
})
