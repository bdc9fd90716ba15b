/**
 * The child process of the suite. `once`: takes an order, plans its mail in the same transaction, sends it, undoes it, and
 * dies at its n-th step as by `kill -9`; a step is just before a statement, before the receiver takes effect and before its
 * answer. `sweep`: sweeps, with as many others as the test likes.
 *
 * Arguments: `once` or `sweep`, the opening as JSON, the receiver's directory, and the step to die at (0: never).
 * Prints a line for each thing that it knows to have happened.
 */
import { writeSync } from 'node:fs'
import { compensate, plan, run } from './effects.ts'
import { openConnection, receiverIn } from './place.conformance.ts'
import type { Opening } from './place.conformance.ts'
import { sweep } from './sweep.ts'

const [what = '', opening = '', directory = '', dieAt = '0'] = process.argv.slice(2)
const progress = { steps: 0 }

function step(): void {
  progress.steps += 1
  if (progress.steps === Number(dieAt)) process.kill(process.pid, 'SIGKILL')
}

function acknowledge(text: string): void {
  writeSync(1, `${text}\n`)
}

await using connection = await openConnection(JSON.parse(opening) as Opening, step)
const { db } = connection
const send = receiverIn(directory).send(step)
if (what === 'sweep') {
  acknowledge('ready')
  // All begin at once, when the test lets go.
  await new Promise((resolve) => process.stdin.once('data', resolve))
  process.stdin.destroy()
  const { sent } = await sweep(db, { mail: { send, possiblySent: 'send-again' } })
  acknowledge(`sent ${sent.length}`)
} else {
  await connection.sql('begin')
  await connection.sql('insert into orders values (17)')
  await plan(db, { key: 'order-17', kind: 'mail', what: 'confirmation of order 17', payload: { to: 'ada' } })
  await connection.sql('commit')
  acknowledge('committed')
  await run(db, 'order-17', send)
  acknowledge('sent')
  await compensate(db, 'order-17', send)
  acknowledge('compensated')
  step()
  acknowledge(`done after ${progress.steps} steps`)
}
