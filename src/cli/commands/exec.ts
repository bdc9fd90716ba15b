/** `stead exec`: runs a program inside a part that runs. */
import { constants } from 'node:os'
import { carry, sizeOfTerminal, sizeUnseen } from '../carrying.ts'
import { type Command, helpOf, usage } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { openLasting } from '../lasting.ts'
import { needTarget } from '../target.ts'
import { note } from '../terminal.ts'

export const execCommand: Command = {
  name: 'exec',
  usage: 'PART [APP] -- COMMAND...',
  summary: 'run a program inside a part that runs',
  help: `  -t, --terminal   with a terminal of its own, for shells and editors
  It runs in the sandbox of an instance: its files, its network, its user, its limits, its environment. Input and output
  are yours; the exit code is the program's, or 128 and the number of the signal that ended it. It goes on when the platform
  is started anew under it, and when an SSH connection to it breaks for some seconds. Nothing of it is left running when you
  go away. A database is a part too: its server's sandbox is entered.
  Example: stead exec web -t -- sh`,
  options: { terminal: { type: 'boolean', short: 't' } },
  argumentsMax: 2,
  takesProgram: true,
  async run(input) {
    const [part, word = null] = input.arguments
    if (part === undefined) throw usage('stead exec needs the name of a part', helpOf(execCommand))
    if (input.program.length === 0) throw usage('stead exec needs a program after --', helpOf(execCommand))
    const target = await needTarget(word)
    const terminal = input.flag('terminal') ? (sizeOfTerminal() ?? sizeUnseen) : null
    const { TERM: term = 'xterm' } = process.env
    const env = terminal === null ? {} : { TERM: term }
    const stream = await openLasting({ target, word, part }, { kind: 'exec', argv: input.program, env, terminal })
    const end = await carry(stream, terminal !== null)
    if (end.code !== null) return end.code
    const number = Object.entries(constants.signals).find(([name]) => name === end.signal)?.[1]
    note(`${part}: ${input.program[0]} ${end.sentence}`)
    return number === undefined ? exitCodes.failed : 128 + number
  },
}
