/**
 * The whole way of a task, with nodes that are played: submitted through the socket of a real daemon, decided, written
 * durably, told to the nodes over their connections, ended there at once, heard, written again. A process of its own plays
 * the nodes, each with a connection as any agent has it. Prints a table; decides nothing. Words: nodes, tasks.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { systemClock as clock, systemRandom as random } from '../src/base/index.ts'
import { submissionDefaults } from '../src/batch/index.ts'
import { daemonHome, daemonSocket } from '../src/cli/home.ts'
import { operatorClient } from '../src/operator/index.ts'
import {
  type Downward,
  downwardSchema,
  protocolVersion,
  tasksInMessageMax,
  type Upward,
} from '../src/protocol/index.ts'
import { type Channel, dialForever } from '../src/transport/index.ts'
import { DaemonBench } from '../test/daemon-bench.ts'

/** More than any machine has: the tasks go to the nodes that are played. */
const taskBytes = 2 ** 44
const arrayTasks = 50_000

function row(what: string, figure: string): void {
  process.stdout.write(`${what.padEnd(46)}  ${figure}\n`)
}

function playNode(name: string, path: string): Promise<void> {
  return new Promise((resolve) => {
    let open: Channel<Upward> | null = null
    dialForever<Upward, Downward>(
      { kind: 'unix', path },
      {
        clock,
        random,
        schema: downwardSchema,
        onDown: () => {},
        onOpen(channel) {
          open = channel
          channel.send({ type: 'hello', protocol: protocolVersion, role: 'agent', name })
          channel.send({ type: 'status', full: true, statuses: [] })
          const offer = { cpu: 64, memoryBytes: taskBytes * 200, gpus: null, labels: {}, address: '127.0.0.1' }
          channel.send({ type: 'tasks-have', offer, running: [], ended: [], jobs: [], last: true })
          resolve()
        },
        onMessage(message) {
          if (message.type !== 'tasks') return
          const exit = { cause: 'code', code: 0, signal: null, sentence: 'ended with code 0' } as const
          const ended = message.start.map(({ task }) => ({ task, endedMs: clock.nowMs(), exit }))
          for (let from = 0; from < ended.length; from += tasksInMessageMax)
            open?.send({ type: 'tasks-ended', ended: ended.slice(from, from + tasksInMessageMax) })
        },
      },
    )
  })
}

function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / 100
}

const [mode = '', ...words] = process.argv.slice(2)
if (mode === 'play') {
  const [path = '', count = '0'] = words
  await Promise.all(Array.from({ length: Number(count) }, (_, index) => playNode(`sim-${index}`, path)))
  process.stdout.write('ready\n')
} else {
  const nodes = Number(mode === '' ? 500 : mode)
  const tasks = Number(words[0] ?? 200_000)
  await using daemon = await DaemonBench.start()
  process.env['STEAD_RUN'] = daemon.bench.env['STEAD_RUN']
  process.env['STEAD_STATE'] = daemon.bench.env['STEAD_STATE']
  const client = await operatorClient(daemonSocket())
  if (client === null) throw new Error('the daemon does not answer')
  const args = [import.meta.filename, 'play', daemonHome().controlSocket, String(nodes)]
  const players = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    await once(players.stdout, 'data')
    while ((await client.batch.nodes()).length <= nodes) await new Promise((resolve) => setTimeout(resolve, 100))
    const before = [daemon.pidOf('control'), players.pid ?? 0].map(cpuSeconds)
    const fromMs = performance.now()
    const ids: number[] = []
    for (let left = tasks; left > 0; left -= arrayTasks)
      ids.push(
        await client.batch.submit({
          ...submissionDefaults,
          name: 'played',
          argv: ['true'],
          needs: { ...submissionDefaults.needs, cpu: 0, memoryBytes: taskBytes },
          array: { ranges: [{ from: 1, to: Math.min(left, arrayTasks), step: 1 }], atMost: null },
        }),
      )
    const submittedMs = performance.now()
    for (const id of ids) for await (const job of client.batch.watch(id, AbortSignal.timeout(220_000))) void job
    const seconds = (performance.now() - fromMs) / 1000
    const [control = 0, played = 0] = [daemon.pidOf('control'), players.pid ?? 0].map(
      (pid, index) => cpuSeconds(pid) - (before[index] ?? 0),
    )
    row('nodes played, tasks', `${nodes}, ${tasks}`)
    row('submitted and durable', `${((submittedMs - fromMs) / 1000).toFixed(2)} s`)
    row('all decided, told, ended and durable', `${seconds.toFixed(2)} s: ${Math.round(tasks / seconds)} tasks/s`)
    row(
      'CPU of control, of the nodes',
      `${control.toFixed(1)} s, ${played.toFixed(1)} s: ${Math.round(tasks / (control + played))} tasks/s of a core`,
    )
  } finally {
    players.kill()
  }
}
