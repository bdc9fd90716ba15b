/** `stead exec`: runs a program inside a part that runs. */
import { constants } from 'node:os'
import type { RemoteStream, StreamEnd } from '../../protocol/index.ts'
import { type Command, helpOf, usage } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { needTarget } from '../target.ts'
import { note } from '../terminal.ts'

/** Of a terminal that nobody sees. */
const sizeUnseen = { columns: 80, rows: 24 }

export const execCommand: Command = {
  name: 'exec',
  usage: 'PART [APP] -- COMMAND...',
  summary: 'run a program inside a part that runs',
  help: `  -t, --terminal   with a terminal of its own, for shells and editors
  It runs in the sandbox of an instance: its files, its network, its user, its limits, its environment. Input and output
  are yours; the exit code is the program's, or 128 and the number of the signal that ended it. Nothing of it is left
  running when you go away. A database is a part too: its server's sandbox is entered.
  Example: stead exec web -t -- sh`,
  options: { terminal: { type: 'boolean', short: 't' } },
  argumentsMax: 2,
  takesProgram: true,
  async run(input) {
    const [part, word = null] = input.arguments
    if (part === undefined) throw usage('stead exec needs the name of a part', helpOf(execCommand))
    if (input.program.length === 0) throw usage('stead exec needs a program after --', helpOf(execCommand))
    const { operator, app } = await needTarget(word)
    const terminal = input.flag('terminal') ? (sizeOfTerminal() ?? sizeUnseen) : null
    const { TERM: term = 'xterm' } = process.env
    const env = terminal === null ? {} : { TERM: term }
    const stream = await operator.open(app, part, { kind: 'exec', argv: input.program, env, terminal })
    const end = await carry(stream, terminal !== null)
    if (end.code !== null) return end.code
    const number = Object.entries(constants.signals).find(([name]) => name === end.signal)?.[1]
    note(`${part}: ${input.program[0]} ${end.sentence}`)
    return number === undefined ? exitCodes.failed : 128 + number
  },
}

function sizeOfTerminal(): { columns: number; rows: number } | null {
  const { columns, rows, isTTY } = process.stdout
  return isTTY && columns > 0 && rows > 0 ? { columns, rows } : null
}

/** Carries input and output until it has ended. */
async function carry(stream: RemoteStream, terminal: boolean): Promise<StreamEnd> {
  const { stdin, stdout, stderr } = process
  const raw = terminal && stdin.isTTY
  const resize = (): void => {
    const size = sizeOfTerminal()
    if (size !== null) stream.resize(size)
  }
  // Without a terminal of its own, Ctrl-C is for this command, and takes the program with it.
  const close = (): void => stream.close()
  if (raw) stdin.setRawMode(true)
  if (terminal) stdout.on('resize', resize)
  process.once('SIGINT', close)
  process.once('SIGTERM', close)
  const typing = type(stream)
  typing.catch(close)
  try {
    for await (const { to, bytes } of stream.pieces) await write(to === 'out' ? stdout : stderr, bytes)
    return await stream.ended
  } finally {
    if (raw) stdin.setRawMode(false)
    stdout.off('resize', resize)
    // Nobody reads any more what is typed.
    stdin.destroy()
    stream.close()
  }
}

async function type(stream: RemoteStream): Promise<void> {
  try {
    for await (const chunk of process.stdin as AsyncIterable<Buffer>) await stream.write(chunk)
    stream.end()
  } catch {
    // Destroyed at the end of it all.
  }
}

/** Resolves when there is room for more. */
function write(to: NodeJS.WriteStream, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => to.write(bytes, (error) => (error ? reject(error) : resolve())))
}
