/** The core of submitted jobs, with nodes that are played: what is decided, told and written, also over a restart of it. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { NodeOffer, TaskExit } from '../protocol/index.ts'
import { BatchCore, type BatchEvent, type Submission, submissionDefaults, type Tell } from './index.ts'
import { recordsOf } from './fixtures/records.ts'

const offer: NodeOffer = { cpu: 4, memoryBytes: 8 * 2 ** 30, gpus: null, labels: {}, address: '127.0.0.1' }

function exit(code: number): TaskExit {
  return { cause: 'code', code, signal: null, sentence: `ended with code ${code}` }
}

/** A core whose records are kept as the store would, and that can be begun anew from them. */
class Rig {
  readonly store = new Map<string, unknown>()
  core: BatchCore
  nowMs = 1000
  started: string[] = []
  stopped: string[] = []
  over: number[] = []
  readonly tells: Tell[] = []

  constructor() {
    this.core = BatchCore.restore(recordsOf(this.store), this.nowMs)
  }

  apply(event: BatchEvent): number {
    const id = this.core.apply(event, this.nowMs)
    this.#turn()
    return id ?? 0
  }

  submit(change: Partial<Submission> = {}): number {
    const submission = { ...submissionDefaults, name: 'x', argv: ['true'], ...change }
    return this.apply({ kind: 'submit', submission, by: 'ann' })
  }

  came(node = 'n1', running: string[] = []): void {
    this.apply({ kind: 'node-came', node, offer, running, ended: [], jobs: [] })
  }

  end(task: string, code = 0): void {
    this.apply({ kind: 'ended', ended: [{ task, endedMs: this.nowMs, exit: exit(code) }] })
  }

  pass(ms: number): void {
    this.nowMs += ms
    this.apply({ kind: 'time' })
  }

  /** What was told to start since it was asked last. */
  takeStarted(): string[] {
    return this.started.splice(0)
  }

  takeStopped(): string[] {
    return this.stopped.splice(0)
  }

  phases(job: number): string[] {
    const { tasks } = this.core.ledger.need(job)
    return Array.from({ length: tasks.count }, (_, position) => tasks.at(position).phase)
  }

  restart(): void {
    this.core = BatchCore.restore(recordsOf(this.store), this.nowMs)
    this.#turn()
  }

  #turn(): void {
    const { writes, tells } = this.core.take()
    for (const [key, value] of writes) {
      // As through the store.
      if (value === null) this.store.delete(key)
      else this.store.set(key, JSON.parse(JSON.stringify(value)))
    }
    for (const tell of tells.values()) {
      this.tells.push(tell)
      this.started.push(...tell.start.map(({ task }) => task))
      this.stopped.push(...tell.stop.map(({ task, signal }) => `${task} ${signal}`))
      this.over.push(...tell.over)
    }
  }
}

function rig(): Rig {
  const made = new Rig()
  made.came()
  return made
}

const cores = (cpu: number): Partial<Submission> => ({ needs: { ...submissionDefaults.needs, cpu } })

suite('submitted jobs', () => {
  test('run when there is room, in order, and end as their tasks end', () => {
    const at = rig()
    const first = at.submit(cores(4))
    const second = at.submit(cores(4))
    assert.deepEqual(at.takeStarted(), [`${first}-0-1`])
    assert.match(at.core.explain(at.core.ledger.need(second), 0).sentence, /node n1, the only one, lacks 4 cores/)
    at.end(`${first}-0-1`, 3)
    assert.deepEqual(at.takeStarted(), [`${second}-0-1`])
    assert.deepEqual(at.phases(first), ['failed'])
    assert.notEqual(at.core.ledger.need(first).record.endedMs, null)
    assert.deepEqual(at.over, [first])
    at.end(`${second}-0-1`)
    assert.deepEqual(at.phases(second), ['succeeded'])
    // Heard once more, it changes nothing.
    at.end(`${second}-0-1`, 1)
    assert.deepEqual(at.phases(second), ['succeeded'])
  })

  test('of an array with a bound no more run at once', () => {
    const at = rig()
    const job = at.submit({ array: { ranges: [{ from: 10, to: 18, step: 2 }], atMost: 2 } })
    assert.deepEqual(at.takeStarted(), [`${job}-0-1`, `${job}-1-1`])
    for (const position of [0, 1, 2, 3, 4]) at.end(`${job}-${position}-1`)
    assert.deepEqual(
      at.phases(job),
      Array.from({ length: 5 }, () => 'succeeded'),
    )
    assert.equal(
      at.tells.flatMap(({ start }) => start).find(({ task }) => task === `${job}-4-1`)?.env['STEAD_TASK'],
      '18',
    )
  })

  test('a task that fails is started again as often as was said; code 75 asks for it', () => {
    const at = rig()
    const job = at.submit({ retries: 1 })
    at.end(`${job}-0-1`, 1)
    assert.deepEqual(at.takeStarted(), [`${job}-0-1`, `${job}-0-2`])
    at.end(`${job}-0-2`, 1)
    assert.deepEqual(at.phases(job), ['failed'])
    const again = at.submit({ requeue: true })
    at.end(`${again}-0-1`, 75)
    at.end(`${again}-0-2`, 75)
    assert.deepEqual(
      at.takeStarted(),
      [1, 2, 3].map((attempt) => `${again}-0-${attempt}`),
    )
    at.end(`${again}-0-3`, 0)
    assert.deepEqual(at.phases(again), ['succeeded'])
  })

  test('dependencies: after success, after failure, and never', () => {
    const at = rig()
    const first = at.submit()
    const well = at.submit({ after: [{ job: first, when: 'success' }] })
    const badly = at.submit({ after: [{ job: first, when: 'failure' }] })
    assert.deepEqual(at.takeStarted(), [`${first}-0-1`])
    at.end(`${first}-0-1`, 1)
    assert.deepEqual(at.takeStarted(), [`${badly}-0-1`])
    assert.deepEqual(at.phases(well), ['gave-up'])
    const late = at.submit({ after: [{ job: first, when: 'success' }] })
    assert.deepEqual(at.phases(late), ['gave-up'])
    assert.throws(() => at.submit({ after: [{ job: 99, when: 'end' }] }), { code: 'batch.unknown-job' })
  })

  test('a time limit warns, asks to end, and the place is used again only when it has ended', () => {
    const at = rig()
    const limit = { timeLimitMs: 60_000, warn: { signal: 'SIGUSR1', beforeMs: 20_000 } } as const
    const job = at.submit({ ...cores(4), ...limit })
    const next = at.submit(cores(4))
    at.takeStarted()
    at.pass(40_000)
    assert.deepEqual(at.takeStopped(), [`${job}-0-1 SIGUSR1`])
    at.pass(20_000)
    assert.deepEqual(at.takeStopped(), [`${job}-0-1 SIGTERM`])
    assert.deepEqual(at.takeStarted(), [])
    at.end(`${job}-0-1`, 143)
    assert.deepEqual(at.phases(job), ['timed-out'])
    assert.deepEqual(at.takeStarted(), [`${next}-0-1`])
  })

  test('a bounded array goes on after tasks that reached their limit', () => {
    const at = rig()
    const job = at.submit({ timeLimitMs: 1000, array: { ranges: [{ from: 0, to: 2, step: 1 }], atMost: 1 } })
    for (const position of [0, 1, 2]) {
      assert.deepEqual(at.takeStarted(), [`${job}-${position}-1`])
      at.pass(1000)
      at.end(`${job}-${position}-1`, 143)
    }
    assert.deepEqual(at.phases(job), ['timed-out', 'timed-out', 'timed-out'])
  })

  test('cancelling: what waits at once, what runs when it has ended, one task of an array alone', () => {
    const at = rig()
    const job = at.submit({ ...cores(2), array: { ranges: [{ from: 0, to: 3, step: 1 }], atMost: null } })
    assert.deepEqual(at.takeStarted(), [`${job}-0-1`, `${job}-1-1`])
    at.apply({ kind: 'cancel', job, index: 2, by: 'ann' })
    at.apply({ kind: 'cancel', job, index: 0, by: 'ann' })
    assert.deepEqual(at.phases(job), ['stopping', 'running', 'cancelled', 'waiting'])
    at.end(`${job}-0-1`, 143)
    assert.deepEqual(at.takeStarted(), [`${job}-3-1`])
    at.apply({ kind: 'cancel', job, index: null, by: 'bob' })
    at.end(`${job}-1-1`, 143)
    at.end(`${job}-3-1`, 0)
    assert.deepEqual(at.phases(job), ['cancelled', 'cancelled', 'cancelled', 'cancelled'])
    assert.notEqual(at.core.ledger.need(job).record.endedMs, null)
  })

  test('a queue that may, takes the place of a less important one, which waits again', () => {
    const at = rig()
    at.apply({ kind: 'set-queue', queue: { name: 'urgent', priority: 10, preempts: true, timeLimitMs: null } })
    const low = at.submit(cores(4))
    const high = at.submit({ ...cores(4), queue: 'urgent' })
    assert.deepEqual(at.takeStopped(), [`${low}-0-1 SIGTERM`])
    assert.deepEqual(at.takeStarted(), [`${low}-0-1`])
    at.end(`${low}-0-1`, 143)
    assert.deepEqual(at.takeStarted(), [`${high}-0-1`])
    at.end(`${high}-0-1`)
    assert.deepEqual(at.takeStarted(), [`${low}-0-2`])
    assert.throws(() => at.submit({ queue: 'nosuch' }), { code: 'batch.unknown-queue' })
  })

  test('a gang starts together, and ends together when one of it fails', () => {
    const at = rig()
    const gang = at.submit({ ...cores(2), gang: 2 })
    assert.deepEqual(at.takeStarted(), [`${gang}-0-1`, `${gang}-1-1`])
    const [, second] = at.tells.flatMap(({ start }) => start)
    assert.deepEqual(
      ['RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR'].map((name) => second?.env[name]),
      ['1', '2', '1', '127.0.0.1'],
    )
    assert.equal(second?.hosts, '127.0.0.1 slots=2\n')
    at.end(`${gang}-1-1`, 1)
    assert.deepEqual(at.takeStopped(), [`${gang}-0-1 SIGTERM`])
    at.end(`${gang}-0-1`, 143)
    assert.deepEqual(at.phases(gang), ['cancelled', 'failed'])
  })

  test('impossible requests are refused with the reason, and change nothing', () => {
    const at = rig()
    assert.throws(() => at.submit(cores(64)), { code: 'scheduler.impossible' })
    at.apply({ kind: 'set-queue', queue: { name: 'short', priority: 0, preempts: false, timeLimitMs: 60_000 } })
    assert.throws(() => at.submit({ queue: 'short', timeLimitMs: 60_001 }), { code: 'batch.too-long' })
    at.store.delete('batch/queue/short')
    assert.deepEqual([...at.core.ledger.jobs], [])
    assert.deepEqual([...at.store.keys()], ['batch/node/n1'])
  })

  test('a new core takes up what runs, waits and has ended; nothing that runs is started again', () => {
    const at = rig()
    const done = at.submit()
    at.end(`${done}-0-1`)
    const array = at.submit({ ...cores(2), array: { ranges: [{ from: 0, to: 4, step: 1 }], atMost: null } })
    at.end(`${array}-0-1`)
    const after = at.submit({ after: [{ job: array, when: 'success' }] })
    at.takeStarted()
    at.restart()
    assert.deepEqual(at.phases(array), ['succeeded', 'running', 'running', 'waiting', 'waiting'])
    assert.deepEqual(at.takeStarted(), [], 'nothing before the node has come')
    at.came('n1', [`${array}-1-1`])
    assert.deepEqual(at.takeStarted(), [`${array}-2-1`], 'what never arrived is told again')
    for (const position of [1, 2]) at.end(`${array}-${position}-1`)
    assert.deepEqual(at.takeStarted(), [`${array}-3-1`, `${array}-4-1`])
    for (const position of [3, 4]) at.end(`${array}-${position}-1`)
    assert.deepEqual(at.takeStarted(), [`${after}-0-1`])
    assert.equal(at.submit(), after + 1, 'numbers are not used again')
  })

  test('a node that somebody closes takes in nothing new, also after a restart of it and of control; drained it gives back what it has', () => {
    const at = rig()
    const why = (job: number): string => at.core.explain(at.core.ledger.need(job), 0).sentence
    const first = at.submit()
    at.takeStarted()
    at.apply({ kind: 'set-node', node: 'n1', state: 'cordoned', by: 'bob' })
    const second = at.submit()
    assert.deepEqual([at.takeStarted(), at.takeStopped()], [[], []])
    assert.match(why(second), /n1, the only one, was cordoned by bob at 1970-01-01T00:00:01Z/)
    at.apply({ kind: 'node-away', node: 'n1' })
    at.came('n1', [`${first}-0-1`])
    at.restart()
    assert.match(why(second), /was cordoned by bob/)
    at.came('n1', [`${first}-0-1`])
    assert.deepEqual(at.takeStarted(), [])
    at.apply({ kind: 'set-node', node: 'n1', state: 'drained', by: 'bob' })
    assert.deepEqual(at.takeStopped(), [`${first}-0-1 SIGTERM`])
    at.end(`${first}-0-1`, 143)
    assert.deepEqual(at.phases(first), ['waiting'])
    at.apply({ kind: 'set-node', node: 'n1', state: 'open', by: 'bob' })
    assert.deepEqual(at.takeStarted(), [`${first}-0-2`, `${second}-0-1`])
    assert.equal(at.store.has('batch/cordon/n1'), false)
    assert.throws(() => at.apply({ kind: 'set-node', node: 'n9', state: 'open', by: 'bob' }), {
      code: 'batch.unknown-node',
    })
  })

  test('a node is kept free for a time: what ends before it begins, the rest waits, who names it runs in it; and then it is over', () => {
    const at = rig()
    const why = (job: number): string => at.core.explain(at.core.ledger.need(job), 0).sentence
    const upkeep = { name: 'upkeep', nodes: [], fromMs: 60_000, untilMs: 120_000, by: 'bob' }
    at.apply({ kind: 'reserve', reservation: upkeep })
    assert.throws(() => at.apply({ kind: 'reserve', reservation: upkeep }), { code: 'scheduler.duplicate-name' })
    const far = { ...upkeep, name: 'far', nodes: ['n9'] }
    assert.throws(() => at.apply({ kind: 'reserve', reservation: far }), { code: 'batch.unknown-node' })
    assert.throws(() => at.submit({ reservation: 'nosuch' }), { code: 'scheduler.unknown-name' })
    const short = at.submit({ timeLimitMs: 30_000 })
    const endless = at.submit()
    const inside = at.submit({ reservation: 'upkeep', timeLimitMs: 10_000 })
    assert.deepEqual(at.takeStarted(), [`${short}-0-1`])
    const begins = /n1, the only one, is reserved for 'upkeep' from 1970-01-01T00:01:00Z on/
    assert.match(why(endless), begins)
    at.restart()
    at.came('n1', [`${short}-0-1`])
    assert.match(why(endless), begins)
    assert.match(why(inside), /is held for it from 1970-01-01T00:01:00Z on, when its reservation 'upkeep' begins/)
    at.end(`${short}-0-1`)
    at.pass(59_000)
    assert.deepEqual(at.takeStarted(), [`${inside}-0-1`])
    at.end(`${inside}-0-1`)
    at.pass(60_000)
    assert.deepEqual(at.takeStarted(), [`${endless}-0-1`])
    assert.deepEqual(
      [...at.store.keys()].filter((key) => key.startsWith('batch/reservation/')),
      [],
    )
    at.apply({ kind: 'reserve', reservation: { ...upkeep, fromMs: at.nowMs, untilMs: at.nowMs + 1000 } })
    const kept = at.submit()
    assert.match(why(kept), /is reserved for 'upkeep' until/)
    at.apply({ kind: 'release', reservation: 'upkeep' })
    assert.deepEqual(at.takeStarted(), [`${kept}-0-1`])
    assert.throws(() => at.apply({ kind: 'release', reservation: 'upkeep' }), { code: 'scheduler.unknown-name' })
  })

  test('what an account may have at once is held, also after a restart', () => {
    const at = rig()
    const ann = { name: 'ann', weight: 1, cpu: 2, memoryBytes: null, gpus: null, tasks: null }
    at.apply({ kind: 'set-account', account: ann })
    assert.throws(() => at.submit(cores(3)), { code: 'scheduler.impossible', message: /the quota of 'ann' is 2 cores/ })
    const first = at.submit(cores(2))
    const second = at.submit(cores(2))
    const why = (): string => at.core.explain(at.core.ledger.need(second), 0).sentence
    assert.deepEqual(at.takeStarted(), [`${first}-0-1`])
    assert.match(why(), /account 'ann' holds 2 cores of the 2 cores in its quota/)
    at.restart()
    at.came('n1', [`${first}-0-1`])
    assert.match(why(), /in its quota/)
    at.apply({ kind: 'set-account', account: { ...ann, cpu: null } })
    assert.deepEqual(at.takeStarted(), [`${second}-0-1`])
  })

  test('of a node that is away it is said that it is away, not that somebody closed it', () => {
    const at = rig()
    at.apply({ kind: 'node-away', node: 'n1' })
    const job = at.submit()
    const why = (): string => at.core.explain(at.core.ledger.need(job), 0).sentence
    assert.match(why(), /n1, the only one, is away: its agent is not connected/)
    at.restart()
    assert.match(why(), /is away/)
    at.came()
    assert.deepEqual(at.takeStarted(), [`${job}-0-1`])
  })

  test('labels choose nodes, and one task a node is one task a node', () => {
    const at = rig()
    const labelled: NodeOffer = { ...offer, labels: { disk: 'nvme' } }
    at.apply({ kind: 'node-came', node: 'n2', offer: labelled, running: [], ended: [], jobs: [] })
    const nodesOf = (job: number): string[] => {
      const { tasks } = at.core.ledger.need(job)
      return Array.from({ length: tasks.count }, (_, position) => tasks.at(position).node)
    }
    const fast = at.submit({ selector: [{ label: 'disk', operator: 'in', values: ['nvme', 'ssd'] }] })
    const slow = at.submit({ selector: [{ label: 'disk', operator: 'not-exists' }] })
    assert.deepEqual([nodesOf(fast), nodesOf(slow)], [['n2'], ['n1']])
    const ranges = [{ from: 0, to: 2, step: 1 }]
    const each = at.submit({ array: { ranges, atMost: null }, onePerNode: true })
    assert.deepEqual(nodesOf(each).toSorted(), ['', 'n1', 'n2'])
    assert.match(at.core.explain(at.core.ledger.need(each), 2).sentence, /but for/)
    assert.throws(() => at.submit({ selector: [{ label: 'disk', operator: 'in', values: ['tape'] }] }), {
      code: 'scheduler.impossible',
    })
  })

  test('what a node has and nobody knows is ended; what ran on a lost node runs elsewhere', () => {
    const at = rig()
    const job = at.submit()
    at.came('n2', ['77-0-1'])
    assert.deepEqual(at.takeStopped(), ['77-0-1 SIGKILL'])
    assert.deepEqual(at.takeStarted(), [`${job}-0-1`])
    at.apply({ kind: 'node-away', node: 'n1' })
    at.apply({ kind: 'node-lost', node: 'n1' })
    assert.deepEqual(at.takeStarted(), [`${job}-0-2`])
    at.end(`${job}-0-1`, 1)
    assert.deepEqual(at.phases(job), ['running'], 'an end of an older attempt means nothing')
    at.end(`${job}-0-2`)
    assert.deepEqual(at.phases(job), ['succeeded'])
  })

  test('a node that offers something else is taken up: more begins at once, with less what runs stays', () => {
    const at = rig()
    const gpu = { needs: { ...submissionDefaults.needs, gpus: 1 } }
    assert.throws(() => at.submit(gpu), { code: 'scheduler.impossible', message: /GPUs/ })
    const change = (more: Partial<NodeOffer>): number =>
      at.apply({ kind: 'node-changed', node: 'n1', offer: { ...offer, ...more } })
    change({ gpus: { model: 'T4', count: 2 }, counted: { licence: 1 } })
    const whole = at.submit(gpu)
    const share = at.submit({ needs: { ...submissionDefaults.needs, gpuMilli: 250, gpuModels: ['A100', 'T4'] } })
    assert.deepEqual(at.takeStarted(), [`${whole}-0-1`, `${share}-0-1`])
    const starts = at.tells.flatMap(({ start }) => start)
    assert.deepEqual(
      starts.map(({ gpus }) => gpus),
      [[0], [1]],
    )
    assert.equal(starts[1]?.env['STEAD_GPU_SHARE'], '0.25')
    const licensed = at.submit({ needs: { ...submissionDefaults.needs, counted: { licence: 1 } } })
    assert.deepEqual(at.takeStarted(), [`${licensed}-0-1`])
    const large = at.submit(cores(2))
    assert.deepEqual(at.takeStarted(), [])
    change({ gpus: null, cpu: 1 })
    assert.deepEqual([at.phases(whole), at.takeStopped()], [['running'], []])
    at.restart()
    at.apply({
      kind: 'node-came',
      node: 'n1',
      offer: { ...offer, cpu: 5 },
      running: [whole, share, licensed].map((job) => `${job}-0-1`),
      ended: [],
      jobs: [],
    })
    assert.deepEqual(at.takeStarted(), [`${large}-0-1`], 'what it has when it comes again counts')
  })

  test('reserved time is given once, also after a restart, and told with its core', () => {
    const at = rig()
    const reserved = (ms: number): Partial<Submission> => ({
      needs: {
        ...submissionDefaults.needs,
        cpu: 0.1,
        cpuClass: { runtimeUs: ms * 1000, periodUs: 100_000, deadlineUs: 100_000, policy: 'deadline' },
      },
    })
    assert.throws(() => at.submit(reserved(60)), { code: 'scheduler.impossible', message: /reserves CPU time/ })
    at.apply({ kind: 'node-changed', node: 'n1', offer: { ...offer, realtimeCores: 2 } })
    const jobs = [60, 60, 60].map((ms) => at.submit(reserved(ms)))
    assert.deepEqual(at.takeStarted(), [`${jobs[0]}-0-1`, `${jobs[1]}-0-1`])
    assert.deepEqual(
      at.tells.flatMap(({ start }) => start).map(({ core }) => core),
      [0, 1],
    )
    at.restart()
    const running = jobs.slice(0, 2).map((job) => `${job}-0-1`)
    const came = { kind: 'node-came', node: 'n1', offer: { ...offer, realtimeCores: 2 }, ended: [], jobs: [] } as const
    at.apply({ ...came, running })
    assert.deepEqual(at.takeStarted(), [])
    const small = at.submit(reserved(40))
    assert.deepEqual(at.takeStarted(), [`${small}-0-1`])
    assert.equal(at.tells.at(-1)?.start[0]?.core, 0)
    at.end(`${jobs[1]}-0-1`)
    assert.deepEqual(at.takeStarted(), [`${jobs[2]}-0-1`])
    assert.equal(at.tells.at(-1)?.start[0]?.core, 1)
  })

  test('whose turn it is is known after a restart: who used most comes last', () => {
    const at = rig()
    const lab = at.submit({ ...cores(4), account: 'lab' })
    at.nowMs += 3_600_000
    at.end(`${lab}-0-1`)
    at.nowMs += 60_000
    const other = at.submit({ ...cores(4), account: 'other' })
    at.takeStarted()
    at.restart()
    at.came('n1', [`${other}-0-1`])
    const late = at.submit({ ...cores(4), account: 'lab' })
    const fresh = at.submit({ ...cores(4), account: 'new' })
    at.end(`${other}-0-1`)
    assert.deepEqual(at.takeStarted(), [`${fresh}-0-1`])
    at.end(`${fresh}-0-1`)
    assert.deepEqual(at.takeStarted(), [`${late}-0-1`])
  })

  test('what is expected of a node is left to the parts of apps there, where its owner wants that', () => {
    const at = rig()
    const hour = { fromMs: at.nowMs + 1000, untilMs: at.nowMs + 3_600_000, cpu: 3 }
    at.apply({ kind: 'node-load', node: 'n1', record: null, load: [hour] })
    const before = at.submit(cores(4))
    assert.deepEqual(at.takeStarted(), [`${before}-0-1`], 'nobody has asked for it')
    at.end(`${before}-0-1`)
    at.apply({ kind: 'node-changed', node: 'n1', offer: { ...offer, usesForecast: true } })
    const long = at.submit(cores(2))
    const short = at.submit({ ...cores(4), timeLimitMs: 500 })
    assert.deepEqual(at.takeStarted(), [`${short}-0-1`])
    at.end(`${short}-0-1`)
    const { sentence } = at.core.explain(at.core.ledger.need(long), 0)
    assert.match(sentence, /is expected to need 3 cores for other things from 1970-01-01T00:00:02Z on/)
    at.pass(3_600_000)
    assert.deepEqual(at.takeStarted(), [`${long}-0-1`])
  })

  test('what was used is counted by account and app', () => {
    const at = rig()
    const job = at.submit({ ...cores(2), account: 'lab', app: 'shop' })
    at.nowMs += 10_000
    at.end(`${job}-0-1`)
    const [usage] = at.core.ledger.usage.all()
    assert.equal(usage?.account, 'lab')
    assert.equal(usage.app, 'shop')
    assert.equal(usage.cpuSeconds, 20)
    at.restart()
    assert.equal(at.core.ledger.usage.all()[0]?.cpuSeconds, 20)
  })
})
