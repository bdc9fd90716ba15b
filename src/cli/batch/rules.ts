/** What is set for all jobs, by `stead job`: queues, accounts, reservations, nodes. Invariant: without a name nothing is changed, only shown. */
import type { NodeState } from '../../batch/index.ts'
import type { OperatorClient } from '../../operator/index.ts'
import { type Input, usage } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { print } from '../terminal.ts'
import { accountTable, nodeTable, queueTable, reservationTable } from './show.ts'
import { readBytes, readCores, readDuration, readMoment } from './units.ts'

type Client = OperatorClient['batch']

export async function queue(batch: Client, input: Input): Promise<number> {
  const name = input.arguments[1]
  if (name !== undefined) {
    const priority = Number(input.text('priority') ?? '0')
    const time = input.text('time')
    const timeLimitMs = time === null ? null : readDuration('time', time)
    await batch.setQueue({ name, priority, preempts: input.flag('preempts'), timeLimitMs })
  }
  const queues = await batch.queues()
  print(input.json ? JSON.stringify({ queues }) : queueTable(queues))
  return exitCodes.ok
}

export async function account(batch: Client, input: Input): Promise<number> {
  const name = input.arguments[1]
  if (name !== undefined) {
    const weight = Number(input.text('weight') ?? '1')
    const [cpu, memory] = [input.text('cpu'), input.text('memory')]
    await batch.setAccount({
      name,
      weight,
      cpu: cpu === null ? null : readCores(cpu),
      memoryBytes: memory === null ? null : readBytes('memory', memory),
      gpus: input.number('gpu', 0, 1_000_000),
      tasks: input.number('tasks', 0, 1_000_000_000),
    })
  }
  const accounts = await batch.accounts()
  if (input.json) print(JSON.stringify({ accounts }))
  else print(accounts.length === 0 ? 'No account has a limit.' : accountTable(accounts))
  return exitCodes.ok
}

export async function reserve(batch: Client, input: Input): Promise<number> {
  const name = input.arguments[1]
  if (name !== undefined) {
    const nowMs = Date.now()
    const until = input.text('until')
    if (until === null)
      throw usage(
        `the reservation ${name} needs an end`,
        'As in --from 2026-12-24T22:00 --until 2026-12-25T06:00, or --until 3h.',
      )
    const from = input.text('from')
    const fromMs = from === null ? nowMs : readMoment('from', from, nowMs)
    const untilMs = readMoment('until', until, nowMs)
    if (untilMs <= Math.max(fromMs, nowMs))
      throw usage('--until must lie ahead, and behind --from', 'As in --from 2h --until 4h: two hours, in two hours.')
    await batch.reserve({ name, nodes: input.texts('node'), fromMs, untilMs })
  }
  const reservations = await batch.reservations()
  if (input.json) print(JSON.stringify({ reservations }))
  else print(reservations.length === 0 ? 'No node is reserved.' : reservationTable(reservations))
  return exitCodes.ok
}

export async function release(batch: Client, input: Input): Promise<number> {
  const name = input.arguments[1]
  if (name === undefined) throw usage('stead job release needs a reservation', '`stead job reserve` shows them.')
  await batch.release(name)
  return exitCodes.ok
}

const nodeWords: Readonly<Record<string, NodeState>> = { cordon: 'cordoned', drain: 'drained', open: 'open' }

export async function node(batch: Client, input: Input): Promise<number> {
  const [, name, word = ''] = input.arguments
  if (name !== undefined) {
    const state = nodeWords[word]
    if (state === undefined)
      throw usage(`stead job node ${name} needs a word`, `One of ${Object.keys(nodeWords).join(', ')}.`)
    await batch.setNode(name, state)
  }
  const nodes = await batch.nodes()
  print(input.json ? JSON.stringify({ nodes }) : nodeTable(nodes))
  return exitCodes.ok
}
