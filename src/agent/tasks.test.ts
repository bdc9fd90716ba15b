/** The tasks of submitted jobs on a node, with real sandboxes: what is started, how it ends, and that a new agent finds it. */
import assert from 'node:assert/strict'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { systemClock as clock } from '../base/index.ts'
import { chooseNetworkDriver, Rates } from '../network/index.ts'
import type { TaskEnd, TaskJob, TasksDownward, TaskStart, TasksUpward } from '../protocol/index.ts'
import { bubblewrapDriver, detectLimitGroups, processDriver } from '../sandbox/index.ts'
import { needsAll, needsFile, needsRoot } from '../../test/needs.ts'
import { NodeOffers } from './node-offer.ts'
import { Tasks } from './tasks.ts'

const groups = detectLimitGroups(clock, `stead-tasks-${process.pid}`)
const unsandboxed = processDriver({ clock, groups })

function job(change: Partial<TaskJob> = {}): TaskJob {
  return {
    job: 12,
    argv: ['sh', '-c', 'echo "hello $NAME"; exit $CODE'],
    env: {},
    cwd: '/tmp',
    reads: [],
    writes: [],
    script: null,
    isolation: 'own',
    places: false,
    hostUid: 1_800_000_012,
    limits: { cpuCores: null, memoryBytes: 128 * 2 ** 20, pidsMax: 64 },
    ...change,
  }
}

/** Tasks of an array, each with a sandbox of its own. */
const series: Partial<TaskJob> = { isolation: 'own', repeats: true }

function start(task: string, env: Record<string, string> = {}): TaskStart {
  return { task, job: 12, env: { NAME: task, CODE: '0', ...env }, hosts: null, output: null }
}

/** A node, and what it says. */
class Node implements AsyncDisposable {
  readonly dir: string = mkdtempSync(join(tmpdir(), 'st-'))
  readonly #sandbox = bubblewrapDriver({ clock, groups })
  readonly #network = chooseNetworkDriver()
  readonly said: TasksUpward[] = []
  readonly notices: string[] = []
  tasks: Tasks

  constructor() {
    chmodSync(this.dir, 0o711)
    this.tasks = this.#make()
  }

  #make(): Tasks {
    const onNotice = (text: string): void => void this.notices.push(text)
    const own = { stateDir: this.dir, clock, sandbox: this.#sandbox, unsandboxed, network: this.#network, onNotice }
    const { capabilities } = this.#sandbox
    return new Tasks(
      own,
      new NodeOffers({ address: null, capabilities, onNotice }),
      new Rates({ holds: false, onNotice }),
    )
  }

  tell(change: Partial<TasksDownward>): void {
    this.tasks.hear({ type: 'tasks', epoch: 1, jobs: [], start: [], stop: [], over: [], forget: [], ...change })
  }

  connect(): void {
    this.tasks.connected((message) => void this.said.push(message))
  }

  /** Another agent on the same directory. */
  async again(): Promise<void> {
    await this.tasks.leave()
    this.tasks = this.#make()
    await this.tasks.adopt()
    this.said.length = 0
    this.connect()
  }

  ends(): TaskEnd[] {
    return this.said.flatMap((message) => (message.type === 'tasks-offer' ? [] : [...message.ended]))
  }

  async end(task: string): Promise<TaskEnd> {
    for (let tries = 0; tries < 600; tries++) {
      const found = this.ends().find((end) => end.task === task)
      if (found !== undefined) return found
      await pause(50)
    }
    return assert.fail(`${task} did not end; ${this.notices.join(', ')}`)
  }

  async output(task: string): Promise<string> {
    const lines = await Array.fromAsync(this.tasks.outputOf(task)?.output({}) ?? [])
    return lines.map(({ text }) => text).join('\n')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.tasks.stop()
    await this.#network[Symbol.asyncDispose]()
    rmSync(this.dir, { recursive: true, force: true })
  }
}

suite('tasks of a node', { skip: needsAll(needsRoot(), needsFile('/usr/bin/bwrap', 'install bubblewrap')) }, () => {
  test('run in sandboxes of their own, once for each attempt, and their end is told again on a new connection', async () => {
    await using node = new Node()
    node.connect()
    node.tell({ jobs: [job()], start: [start('12-0-1', { CODE: '3' })] })
    const { exit } = await node.end('12-0-1')
    assert.deepEqual([exit.cause, exit.code], ['code', 3])
    assert.equal(await node.output('12-0-1'), 'hello 12-0-1')
    node.tell({ start: [start('12-0-1')] })
    await node.again()
    assert.deepEqual((await node.end('12-0-1')).exit.code, 3, 'it was not started a second time')
    node.tell({ over: [12] })
    await node.again()
    assert.deepEqual(node.ends(), [])
    assert.equal(await node.output('12-0-1'), 'hello 12-0-1', 'its output stays')
    node.tell({ forget: [12] })
    while ((await node.output('12-0-1')) !== '') await pause(20)
  })

  test('of many short ones who waits takes a place that is free, so few places are made', async () => {
    await using node = new Node()
    node.connect()
    const ids = Array.from({ length: 24 }, (_, index) => `12-${index}-1`)
    node.tell({ jobs: [job(series)], start: ids.map((id) => start(id)) })
    // What a task is told before it has begun reaches it all the same.
    const stopped = ids.at(-1) ?? ''
    node.tell({ stop: [{ task: stopped, signal: 'SIGTERM', graceMs: 0 }] })
    for (const id of ids) {
      const { exit } = await node.end(id)
      if (id !== stopped) assert.equal(exit.code, 0, `${id}: ${exit.sentence}`)
    }
    const made = readdirSync(join(node.dir, 'jobs', 'live', '12', 'places')).length
    assert.ok(made < ids.length, `${made} places were made for ${ids.length} tasks`)
  })

  for (const isolation of ['shared', 'none'] as const) {
    test(`share a place (${isolation}): one after another, each with its output and exit`, async () => {
      await using node = new Node()
      node.connect()
      const shared = job({ isolation, places: true, script: 'echo "script of $NAME: $1"; exit $CODE' })
      node.tell({
        jobs: [{ ...shared, argv: ['sh', '/run/stead/script', "it's"] }],
        start: [start('12-0-1', { CODE: '5' })],
      })
      assert.deepEqual((await node.end('12-0-1')).exit.code, 5)
      node.tell({ start: [start('12-1-1'), start('12-2-1')] })
      for (const task of ['12-1-1', '12-2-1']) assert.equal((await node.end(task)).exit.code, 0)
      assert.equal(await node.output('12-2-1'), "script of 12-2-1: it's")
      assert.deepEqual(node.notices, [])
    })
  }

  test('those of an array each have a sandbox of their own, started by a place', async () => {
    await using node = new Node()
    node.connect()
    const argv = ['sh', '/run/stead/script', "it's"]
    const script =
      'echo "$NAME $1 $(id -u) $(ls -A /tmp) $(ls /proc | grep -c "^[0-9]")"; echo left >/tmp/left; exit $CODE'
    node.tell({ jobs: [job({ ...series, argv, script })], start: [start('12-0-1', { CODE: '5' })] })
    assert.deepEqual((await node.end('12-0-1')).exit.code, 5)
    node.tell({ start: [start('12-1-1', { NAME: 'a b' })] })
    assert.equal((await node.end('12-1-1')).exit.code, 0)
    // The first process, the shell, ls and grep.
    assert.match(await node.output('12-0-1'), /^12-0-1 it's 1000 {2}[45]$/)
    assert.match(await node.output('12-1-1'), /^a b it's 1000 {2}[45]$/, 'nothing is left of the one before')
    node.tell({ start: [start('12-2-1', { CODE: '143' })] })
    assert.deepEqual((await node.end('12-2-1')).exit.signal, 'SIGTERM')
    assert.deepEqual(node.notices, [])
  })

  test('one of an array whose sandbox cannot be made says why, and one that reaches its memory limit is told as that', async () => {
    await using node = new Node()
    node.connect()
    node.tell({ jobs: [job({ ...series, reads: ['/nowhere'] })], start: [start('12-0-1')] })
    const { exit } = await node.end('12-0-1')
    assert.equal(exit.cause, 'not-started')
    assert.match(exit.sentence, /nowhere/)
    const argv = ['sh', '-c', `a=$(head -c 200000000 /dev/zero | tr '\\0' x); echo never`]
    node.tell({ jobs: [job({ ...series, job: 13, argv })], start: [{ ...start('13-0-1'), job: 13 }] })
    assert.equal((await node.end('13-0-1')).exit.cause, 'memory')
  })

  for (const kind of [{ isolation: 'shared', places: true }, series] satisfies Partial<TaskJob>[])
    test(`one that shares a place (${kind.isolation}) is signalled, killed, and found again`, async () => {
      await using node = new Node()
      node.connect()
      const argv = ['sh', '-c', 'trap "echo warned" USR1; echo up; while :; do sleep 0.1; done']
      node.tell({ jobs: [job({ ...kind, argv })], start: [start('12-0-1')] })
      while (!(await node.output('12-0-1')).includes('up')) await pause(20)
      await node.again()
      const [have] = node.said
      assert.deepEqual(have?.type === 'tasks-have' ? have.running : [], ['12-0-1'])
      node.tell({ stop: [{ task: '12-0-1', signal: 'SIGUSR1', graceMs: null }] })
      while (!(await node.output('12-0-1')).includes('warned')) await pause(20)
      node.tell({ stop: [{ task: '12-0-1', signal: 'SIGTERM', graceMs: 5000 }] })
      assert.deepEqual((await node.end('12-0-1')).exit.signal, 'SIGTERM')
      node.tell({ start: [start('12-0-2')] })
      while (!(await node.output('12-0-2')).includes('up')) await pause(20)
      node.tell({ stop: [{ task: '12-0-2', signal: 'SIGKILL', graceMs: 0 }] })
      assert.deepEqual((await node.end('12-0-2')).exit.signal, 'SIGKILL')
    })

  for (const kind of [{}, series])
    test(`a file takes the output where that was asked for, and a job ${'repeats' in kind ? '(array) ' : ''}runs as who owns what it writes`, async () => {
      await using node = new Node()
      node.connect()
      const argv = ['sh', '-c', 'echo "as $(stat -c %u .)"; echo wrong >&2']
      const dir = join(node.dir, 'w')
      mkdirSync(dir)
      chownSync(dir, 1_850_000_001, 1_850_000_001)
      const output = { out: join(dir, 'out.log'), err: join(dir, 'err.log') }
      node.tell({ jobs: [job({ ...kind, argv, writes: [dir], cwd: dir })], start: [{ ...start('12-0-1'), output }] })
      assert.equal((await node.end('12-0-1')).exit.code, 0)
      assert.equal(readFileSync(output.out, 'utf8'), 'as 1000\n')
      assert.equal(readFileSync(output.err, 'utf8'), 'wrong\n')
      node.tell({ jobs: [job({ ...kind, job: 13, writes: [node.dir] })], start: [{ ...start('13-0-1'), job: 13 }] })
      assert.match((await node.end('13-0-1')).exit.sentence, /belongs to root/)
    })

  test('tasks of a job reach one another, and nobody else; also those that another agent starts', async () => {
    await using node = new Node()
    node.connect()
    const argv = ['sh', '-c', 'readlink /proc/self/ns/net; sleep $CODE']
    node.tell({ jobs: [job({ argv })], start: [start('12-0-1', { CODE: '30' }), start('12-1-1')] })
    await node.end('12-1-1')
    node.tell({ jobs: [job({ job: 13, argv })], start: [{ ...start('13-0-1'), job: 13 }] })
    await node.end('13-0-1')
    await node.again()
    node.tell({ start: [start('12-2-1')] })
    node.tell({ start: [{ ...start('13-1-1'), job: 13 }] })
    await Promise.all([node.end('12-2-1'), node.end('13-1-1')])
    const tasks = ['12-0-1', '12-1-1', '12-2-1', '13-0-1', '13-1-1']
    const [first, second, third, other, last] = await Promise.all(tasks.map((task) => node.output(task)))
    assert.deepEqual([second, third], [first, first])
    const ours = readlinkSync('/proc/self/ns/net')
    for (const own of [first, other, last]) assert.notEqual(own, ours)
    assert.notEqual(other, first)
    assert.notEqual(last, first)
  })

  for (const kind of [{}, series])
    test(`what is shut down with its platform says so${'repeats' in kind ? ' (array)' : ''}`, async () => {
      await using node = new Node()
      node.connect()
      node.tell({ jobs: [job({ ...kind, argv: ['sh', '-c', 'echo up; sleep 60'] })], start: [start('12-0-1')] })
      while ((await node.output('12-0-1')) !== 'up') await pause(20)
      await node.tasks.stop()
      await node.again()
      assert.equal((await node.end('12-0-1')).exit.cause, 'interrupted')
    })
})
