/** The thread of a driver: opens it, carries out the calls that arrive, and answers each once. Ends when it was closed. */
import { parentPort, workerData } from 'node:worker_threads'
import { assert, isSteadError } from '../../../base/index.ts'
import type { QueueDriver } from '../../driver.ts'
import { openJob } from './job.ts'
import type { ThreadJob } from './job.ts'
import { packHeld, plainOf, plainSent, plainSettled, unpackOutgoing, unpackSettlements } from './protocol.ts'
import type { Answer, Call, FromThread, ToThread } from './protocol.ts'

const waiting = new Map<number, AbortController>()

function say(message: FromThread): void {
  assert(parentPort !== null, 'this file runs in a thread')
  parentPort.postMessage(message, [])
}

async function carryOut(driver: QueueDriver, call: Call): Promise<Answer> {
  switch (call.method) {
    case 'declare':
      await driver.declare(call.queue)
      return { kind: 'nothing' }
    case 'send': {
      const outcomes = await driver.send(call.queue, unpackOutgoing(call.messages))
      return { kind: 'sent', outcomes: plainSent(outcomes, call.messages.ids) }
    }
    case 'receive': {
      const controller = new AbortController()
      waiting.set(call.id, controller)
      try {
        return { kind: 'held', held: packHeld(await driver.receive(call.queue, call.want, controller.signal)) }
      } finally {
        waiting.delete(call.id)
      }
    }
    case 'settle': {
      const outcomes = await driver.settle(call.queue, unpackSettlements(call.settlements))
      return { kind: 'settled', outcomes: plainSettled(outcomes, call.settlements.receipts.length) }
    }
    case 'counts':
      return { kind: 'counts', counts: await driver.counts(call.queue) }
    case 'peek':
      return { kind: 'seen', seen: await driver.peek(call.queue, call.shelf, call.max) }
    case 'redrive':
      return { kind: 'number', count: await driver.redrive(call.queue, call.max, call.ids) }
    case 'purge':
      return { kind: 'number', count: await driver.purge(call.queue, call.shelf) }
    case 'remove':
      await driver.remove(call.queue)
      return { kind: 'nothing' }
    case 'close':
      await driver.close()
      return { kind: 'nothing' }
  }
}

async function answer(driver: QueueDriver, call: Call): Promise<void> {
  try {
    say({ kind: 'answer', id: call.id, answer: await carryOut(driver, call) })
  } catch (error) {
    // What was not foreseen ends the thread, and with it every call: the program hears of it as an error of the thread.
    if (!isSteadError(error)) throw error
    say({ kind: 'answer', id: call.id, answer: { kind: 'failed', plain: plainOf(error) } })
  }
}

async function main(job: ThreadJob): Promise<void> {
  assert(parentPort !== null, 'this file runs in a thread')
  try {
    const driver = await openJob(job)
    parentPort.on('message', (message: ToThread) => {
      if (message.method === 'stop-waiting') waiting.get(message.id)?.abort()
      else void answer(driver, message)
    })
    const { name, server, capabilities, limits } = driver
    say({ kind: 'open', name, server, capabilities, limits })
  } catch (error) {
    if (!isSteadError(error)) throw error
    say({ kind: 'cannot-open', plain: plainOf(error) })
  }
}

await main(workerData)
