/** `stead stop`, `start`, `restart`: what a person orders of one part. */
import type { PartOrderKind } from '../../operator/index.ts'
import { type Command, helpOf, usage } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { needTarget } from '../target.ts'
import { print, Steps } from '../terminal.ts'

const about = 'APP is a directory (default: here), or the name of an app that `stead serve` runs.'

export const stopCommand: Command = orderCommand(
  'stop',
  'stop a service or job; it stays stopped until `start`',
  `  What is in flight is let end first. It stays stopped over restarts and releases. A job that is stopped does not run,
  and what it would have run meanwhile is not made up for.`,
)

export const startCommand: Command = orderCommand('start', 'start what was stopped', '  Returns when it is ready.')

export const restartCommand: Command = orderCommand(
  'restart',
  'replace the instances of a service, one by one',
  '  New instances of the same release replace the old ones; no request is lost. Returns when all are ready.',
)

function orderCommand(kind: PartOrderKind, summary: string, what: string): Command {
  const command: Command = {
    name: kind,
    usage: 'PART [APP]',
    summary,
    help: `${what}
  --json        as JSON
  ${about}
  Example: stead ${kind} web`,
    options: {},
    argumentsMax: 2,
    async run({ arguments: [part, word = null], json }) {
      if (part === undefined) throw usage(`stead ${kind} needs the name of a part`, helpOf(command))
      const { operator, app } = await needTarget(word)
      await new Steps(json).run(`${kind} ${part}`, () => operator.order(app, part, kind))
      if (json) print(JSON.stringify({ app, part, done: kind }))
      return exitCodes.ok
    },
  }
  return command
}
