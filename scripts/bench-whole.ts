/**
 * The whole way of a task, with nodes that are played: submitted through the socket of a real daemon, decided, written
 * durably, told to the nodes, ended there at once, heard, written again; while every node sends a heartbeat every ten seconds.
 * Another process plays the nodes and speaks for them as pools. All processes are counted. Prints a table; decides nothing.
 * Words: nodes, tasks. `--profile DIR`: the process of control writes a CPU profile there.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { isSteadError, systemClock as clock, systemRandom as random } from '../src/base/index.ts'
import { type Submission, submissionDefaults } from '../src/batch/index.ts'
import { daemonHome, daemonSocket } from '../src/cli/home.ts'
import { operatorClient, type OperatorClient } from '../src/operator/index.ts'
import {
  type Downward,
  downwardSchema,
  type NodeOffer,
  poolBeatsInMessageMax,
  poolNodesInMessageMax,
  protocolVersion,
  type TaskEnd,
  tasksInMessageMax,
  type TaskStart,
  type Upward,
} from '../src/protocol/index.ts'
import { type Channel, dialForever } from '../src/transport/index.ts'
import { DaemonBench, type Role } from '../test/daemon-bench.ts'

/** Sizes of machines and tasks are real, but memory counts a thousandfold: so the node that is real takes none of it. */
const memoryUnit = 2 ** 40
const machines = [
  { cpu: 32, memory: 128 },
  { cpu: 64, memory: 256 },
  { cpu: 96, memory: 384 },
  { cpu: 128, memory: 768 },
]
const nodesOfPool = 100_000
/** Of the last node of each pool; no other has as much. */
const lastMemory = 1000
const tasksOfJob = 500
const submittersMax = 16
const beatEveryMs = 10_000
/** A tenth of a second of beats goes in one message. */
const beatsPerSecond = 10
const processes = ['supervisor', 'control', 'agent', 'gateway'] as const satisfies readonly Role[]

function row(what: string, figure: string): void {
  process.stdout.write(`${what.padEnd(46)}  ${figure}\n`)
}

function offerOf(index: number): NodeOffer {
  const { cpu, memory } = machines[index % machines.length] ?? { cpu: 1, memory: 1 }
  return { cpu, memoryBytes: memory * memoryUnit, gpus: null, labels: {}, address: '127.0.0.1' }
}

function pieces<T>(all: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, index) => all.slice(index * size, (index + 1) * size))
}

/** One pool: its nodes beat, and end at once what they are told to start. */
class PlayedPool {
  readonly #name: string
  readonly #count: number
  #channel: Channel<Upward> | null = null
  #beaten = 0

  constructor(name: string, count: number) {
    this.#name = name
    this.#count = count
  }

  play(path: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    dialForever<Upward, Downward>(
      { kind: 'unix', path },
      {
        clock,
        random,
        schema: downwardSchema,
        onDown: (error) => process.stderr.write(`${this.#name}: ${error.message}\n`),
        onOpen: (channel) => void this.#hello(channel).then(resolve),
        onMessage: (message) => {
          if (message.type === 'tasks') this.#start(message.start)
        },
      },
    )
    return promise
  }

  async #hello(channel: Channel<Upward>): Promise<void> {
    this.#channel = channel
    channel.send({ type: 'hello', protocol: protocolVersion, role: 'pool', name: this.#name })
    const nodes = Array.from({ length: this.#count }, (_, index) => {
      const offer = offerOf(index)
      const memoryBytes = index === this.#count - 1 ? lastMemory * memoryUnit : offer.memoryBytes
      return { name: `${this.#name}.${index}`, offer: { ...offer, memoryBytes } }
    })
    const messages = pieces(nodes, poolNodesInMessageMax)
    for (const [index, some] of messages.entries()) {
      const last = index === messages.length - 1
      channel.send({ type: 'pool-have', nodes: some, running: [], ended: [], jobs: [], last })
      await channel.drained()
    }
    setInterval(() => this.#beat(), 1000 / beatsPerSecond)
  }

  #beat(): void {
    const due = Math.min(poolBeatsInMessageMax, Math.ceil((this.#count * 1000) / beatEveryMs / beatsPerSecond))
    const nodes = Array.from({ length: due }, (_, offset) => (this.#beaten + offset) % this.#count)
    this.#beaten = (this.#beaten + due) % this.#count
    this.#channel?.send({ type: 'pool-beats', nodes })
  }

  #start(starts: readonly TaskStart[]): void {
    const exit = { cause: 'code', code: 0, signal: null, sentence: 'ended with code 0' } as const
    const ended = starts.map(({ task }): TaskEnd => ({ task, endedMs: clock.nowMs(), exit }))
    for (const some of pieces(ended, tasksInMessageMax)) this.#channel?.send({ type: 'tasks-ended', ended: some })
  }
}

/** The players: a process of their own. */
async function play(path: string, nodes: number): Promise<void> {
  const pools = Math.ceil(nodes / nodesOfPool)
  const each = Array.from({ length: pools }, (_, index) => Math.min(nodesOfPool, nodes - index * nodesOfPool))
  await Promise.all(each.map((count, index) => new PlayedPool(`pool-${index}`, count).play(path)))
  process.stdout.write('ready\n')
}

/** CPU seconds of a process, and its memory in MB. */
function used(pid: number): { readonly cpuSeconds: number; readonly megabytes: number } {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
  return {
    cpuSeconds: (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / 100,
    megabytes: (Number(fields[21] ?? 0) * 4096) / 1e6,
  }
}

function submission(index: number, tasks: number): Submission {
  const cpu = [0.5, 1, 1, 2, 2, 4, 4, 8, 16][index % 9] ?? 1
  return {
    ...submissionDefaults,
    name: `service-${index}`,
    argv: ['true'],
    needs: { ...submissionDefaults.needs, cpu, memoryBytes: Math.round(cpu * (1 + (index % 8))) * memoryUnit },
    array: { ranges: [{ from: 1, to: tasks, step: 1 }], atMost: null },
  }
}

/** All nodes have come when the last one of each pool, which alone has so much memory, has had a task. */
async function untilAllCame(batch: OperatorClient['batch'], nodes: number): Promise<void> {
  const pools = Math.ceil(nodes / nodesOfPool)
  const probe = submission(0, 1)
  const needs = { ...probe.needs, memoryBytes: (lastMemory - 1) * memoryUnit }
  const asked = { ...probe, name: 'probe', needs, array: { ranges: [{ from: 1, to: pools, step: 1 }], atMost: null } }
  for (;;) {
    try {
      const id = await batch.submit(asked)
      for await (const job of batch.watch(id, AbortSignal.timeout(600_000))) if (job.endedMs !== null) return
    } catch (error) {
      if (!isSteadError(error) || !['scheduler.impossible', 'batch.overloaded'].includes(error.code)) throw error
      await pause(200)
    }
  }
}

async function measure(nodes: number, tasks: number, profile: string | undefined): Promise<void> {
  row('machine', `${availableParallelism()} x ${cpus()[0]?.model ?? ''}, load ${loadavg()[0]?.toFixed(1) ?? ''}`)
  if (profile !== undefined) process.env['NODE_OPTIONS'] = `--cpu-prof --cpu-prof-dir=${profile}`
  await using daemon = await DaemonBench.start()
  delete process.env['NODE_OPTIONS']
  process.env['STEAD_RUN'] = daemon.bench.env['STEAD_RUN']
  process.env['STEAD_STATE'] = daemon.bench.env['STEAD_STATE']
  const client = await operatorClient(daemonSocket())
  if (client === null) throw new Error('the daemon does not answer')
  const { batch } = client
  const comeMs = performance.now()
  const args = [import.meta.filename, 'play', daemonHome().controlSocket, String(nodes)]
  const players: ChildProcess = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    if (players.stdout !== null) await once(players.stdout, 'data')
    await untilAllCame(batch, nodes)
    const comeSeconds = (performance.now() - comeMs) / 1000
    row('nodes played, come and durable', `${nodes} in ${comeSeconds.toFixed(1)} s`)
    const pids = [...processes.map((role) => daemon.pidOf(role)), players.pid ?? 0, process.pid]
    const before = pids.map(used)
    row('CPU of control for the coming of the nodes', `${before[1]?.cpuSeconds.toFixed(1) ?? ''} s`)
    const fromMs = performance.now()
    const jobs = Array.from({ length: Math.ceil(tasks / tasksOfJob) }, (_, index) =>
      submission(index, Math.min(tasksOfJob, tasks - index * tasksOfJob)),
    )
    const ids: number[] = []
    const submitter = async (): Promise<void> => {
      for (let job = jobs.pop(); job !== undefined; job = jobs.pop()) ids.push(await batch.submit(job))
    }
    await Promise.all(Array.from({ length: submittersMax }, submitter))
    const submittedMs = performance.now()
    for (const id of ids) {
      let phase = ''
      for await (const job of batch.watch(id, AbortSignal.timeout(600_000))) phase = job.phase
      if (phase !== 'succeeded') throw new Error(`job ${id} is ${phase}`)
    }
    const seconds = (performance.now() - fromMs) / 1000
    const after = pids.map(used)
    const cpu = after.map(({ cpuSeconds }, index) => cpuSeconds - (before[index]?.cpuSeconds ?? 0))
    const all = cpu.reduce((sum, one) => sum + one, 0)
    row('tasks, in arrays of', `${tasks}, ${tasksOfJob}`)
    row('heartbeats', `${Math.round((nodes * 1000) / beatEveryMs)} a second`)
    row('submitted and durable', `${((submittedMs - fromMs) / 1000).toFixed(1)} s`)
    row(
      'all decided, told, ended, heard and durable',
      `${seconds.toFixed(1)} s: ${Math.round(tasks / seconds)} tasks/s`,
    )
    // What was asked of it are the tasks, beside the heartbeats of nodes that are there; with their coming it is this.
    row('the same, with the coming of the nodes', `${(seconds + comeSeconds).toFixed(1)} s`)
    const names = [...processes, 'nodes', 'submitter']
    row('CPU', `${all.toFixed(1)} s: ${names.map((name, index) => `${name} ${cpu[index]?.toFixed(1)}`).join(', ')}`)
    row('tasks/s of a core', String(Math.round(tasks / all)))
    row('memory', names.map((name, index) => `${name} ${after[index]?.megabytes.toFixed(0)} MB`).join(', '))
  } finally {
    players.kill()
  }
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { profile: { type: 'string' } } })
const [mode = '50000', second = '50000', third = '0'] = positionals
if (mode === 'play') await play(second, Number(third))
else await measure(Number(mode), Number(second), values.profile)
