/**
 * `stead queue`: what is in the queues of an app, and what becomes of their dead letters. Invariant: nothing is deleted by
 * leaving something out: a purge says which shelf, and asks first when a person types it.
 */
import { createInterface } from 'node:readline/promises'
import { lettersMax, type QueueName, type QueueShelf } from '../../operator/index.ts'
import { type Command, type Input, usage } from '../command.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { needTarget, type Target } from '../target.ts'
import { duration, note, paint, print, table } from '../terminal.ts'

const actions = ['ls', 'peek', 'redrive', 'purge', 'pause', 'resume'] as const
type Action = (typeof actions)[number]

/** Characters of a body in a line. */
const lineMax = 60

export const queueCommand: Command = {
  name: 'queue',
  usage: 'ls|peek|redrive|purge|pause|resume [QUEUE]',
  summary: 'what is in the queues of an app, and what becomes of dead letters',
  help: `  ls [QUEUE]     what waits, is delayed, is held, is dead, and how long the oldest waits
  peek QUEUE     the first messages that wait; with --dead those that were given up, and why
  redrive QUEUE  dead letters go back into the queue with their attempts at zero: all, or --id ID (once for each)
  purge QUEUE    delete the dead letters (--dead), or what waits (--ready); what a consumer holds stays
  pause QUEUE    consumers get nothing more until \`resume QUEUE\`, restarts included; what they hold goes on, and senders send

  -n N          with peek: so many (default 20, at most ${lettersMax})
  --yes         with purge: do not ask
  --app APP     a directory (default: here), or the name of an app that \`stead serve\` runs
  --json        as JSON
  QUEUE is the name of the part, or PART/QUEUE for one that its users have made beside it.
  Exit code 0: done. 1: refused. 3: the app does not run.
  Example: stead queue redrive mail`,
  options: {
    app: { type: 'string' },
    dead: { type: 'boolean' },
    ready: { type: 'boolean' },
    id: { type: 'string', multiple: true },
    lines: { type: 'string', short: 'n' },
    yes: { type: 'boolean', short: 'y' },
  },
  argumentsMax: 2,
  async run(input) {
    const [word = 'ls', name] = input.arguments
    const action = actions.find((candidate) => candidate === word)
    if (action === undefined) throw usage(`stead queue has no action ${word}`, `It has: ${actions.join(', ')}.`)
    if (name === undefined && action !== 'ls')
      throw usage(`stead queue ${action} needs a queue`, `As in \`stead queue ${action} mail\`.`)
    return run[action](await needTarget(input.text('app')), nameOf(name ?? ''), input)
  },
}

/** `mail`, or `mail/other` for a queue beside it. */
function nameOf(word: string): QueueName {
  const [part = '', queue = null] = word.split('/', 2)
  return { part, queue }
}

const run: Record<Action, (target: Target, of: QueueName, input: Input) => Promise<ExitCode>> = {
  async ls({ operator, app }, { part }, input) {
    const queues = await operator.queues.list(app, part === '' ? null : part)
    if (input.json) print(JSON.stringify({ app, queues }))
    else if (queues.length === 0) print('The app has no queues.')
    else {
      const somePaused = queues.some(({ paused }) => paused)
      const rows = queues.map(({ part: own, name, ready, delayed, held, dead, oldestAgeMs, paused }) => [
        name === own ? name : `${own}/${name}`,
        String(ready),
        oldestAgeMs === null ? '' : duration(oldestAgeMs),
        String(delayed),
        String(held),
        dead === 0 ? '0' : paint('red', String(dead)),
        ...(somePaused ? [paused ? paint('yellow', 'paused') : ''] : []),
      ])
      const heads = ['QUEUE', 'WAITING', 'OLDEST', 'DELAYED', 'HELD', 'DEAD', ...(somePaused ? ['STATE'] : [])]
      print(table([heads.map((head) => paint('dim', head)), ...rows]))
    }
    return exitCodes.ok
  },

  async peek({ operator, app }, of, input) {
    const shelf: QueueShelf = input.flag('dead') ? 'dead' : 'ready'
    const messages = await operator.queues.peek(app, of, shelf, input.number('lines', 1, lettersMax) ?? 20)
    if (input.json) print(JSON.stringify({ app, ...of, shelf, messages }))
    else if (messages.length === 0) print(shelf === 'dead' ? 'There are no dead letters.' : 'Nothing waits.')
    else {
      const rows = messages.map(({ id, attempt, sentAtMs, text, bodyBytes, cause }) => [
        id,
        duration(Math.max(0, Date.now() - sentAtMs)),
        String(attempt),
        oneLine(text ?? `${bodyBytes} bytes`),
        ...(shelf === 'dead' ? [paint('red', oneLine(cause ?? ''))] : []),
      ])
      const heads = ['ID', 'AGE', 'ATTEMPTS', 'MESSAGE', ...(shelf === 'dead' ? ['WHY'] : [])]
      print(table([heads.map((head) => paint('dim', head)), ...rows]))
    }
    return exitCodes.ok
  },

  async redrive({ operator, app }, of, input) {
    const ids = input.texts('id')
    let count = 0
    // The server puts back so many at one time; what dies again meanwhile is at the end and is left there.
    const dead = ids.length > 0 ? ids.length : await deadOf(operator, app, of)
    while (count < dead) {
      const some = await operator.queues.redrive(
        app,
        of,
        ids.length > 0 ? ids : null,
        Math.min(lettersMax, dead - count),
      )
      count += some
      if (some === 0 || ids.length > 0) break
    }
    const missing = ids.length > count ? `; ${ids.length - count} of those named are no dead letters` : ''
    return done(input, { app, ...of, count }, `${letters(count)} put back into ${shown(of)}${missing}`)
  },

  async purge({ operator, app }, of, input) {
    const [dead, ready] = [input.flag('dead'), input.flag('ready')]
    if (dead === ready)
      throw usage('stead queue purge needs to know what', 'Say --dead for dead letters, or --ready for what waits.')
    const shelf: QueueShelf = dead ? 'dead' : 'ready'
    const what = dead ? 'dead letters' : 'waiting messages'
    if (
      !input.flag('yes') &&
      !(await isSure(`Delete all ${what} of ${shown(of)}? They are gone then, but for checkpoints. [y/N] `))
    )
      throw usage('nothing was deleted', 'Say --yes where nobody can be asked.')
    const count = await operator.queues.purge(app, of, shelf)
    return done(
      input,
      { app, ...of, shelf, count },
      `${dead ? letters(count) : `${count} waiting ${count === 1 ? 'message' : 'messages'}`} of ${shown(of)} deleted`,
    )
  },

  pause: (target, of, input) => pausing(target, of, input, true),
  resume: (target, of, input) => pausing(target, of, input, false),
}

async function pausing({ operator, app }: Target, of: QueueName, input: Input, wanted: boolean): Promise<ExitCode> {
  const paused = await operator.queues.pause(app, of, wanted)
  const said = paused ? 'paused: consumers get nothing until it is resumed' : 'resumed'
  return done(input, { app, ...of, paused }, `${shown(of)} ${said}`)
}

async function deadOf(operator: Target['operator'], app: string, { part, queue }: QueueName): Promise<number> {
  const queues = await operator.queues.list(app, part)
  return queues.find(({ name }) => name === (queue ?? part))?.dead ?? 0
}

/** Asks a person; nobody is asked where there is no terminal. */
async function isSure(question: string): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return false
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return /^y(es)?$/i.test((await lines.question(question)).trim())
  } finally {
    lines.close()
  }
}

function shown({ part, queue }: QueueName): string {
  return queue === null ? part : `${part}/${queue}`
}

function letters(count: number): string {
  return count === 1 ? '1 dead letter' : `${count} dead letters`
}

function oneLine(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ')
  return line.length > lineMax ? `${line.slice(0, lineMax - 1)}…` : line
}

function done(input: Input, answer: object, sentence: string): ExitCode {
  if (input.json) print(JSON.stringify(answer))
  else note(sentence)
  return exitCodes.ok
}
