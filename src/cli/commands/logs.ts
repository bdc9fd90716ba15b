/** `stead logs`: what the parts of an app print. */
import type { LogLine } from '../../protocol/index.ts'
import type { Command } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { isDirectory, needTarget } from '../target.ts'
import { paint, print } from '../terminal.ts'

const linesMax = 1_000_000

export const logsCommand: Command = {
  name: 'logs',
  usage: '[PART] [APP]',
  summary: 'what the parts print; -f to follow',
  help: `  -f, --follow     go on as it comes
  -n, --lines N    only the last N lines (default 100, with -f 10)
  --json           one JSON object a line
  APP is a directory (default: here), or the name of an app that \`stead serve\` runs. A first word with a
  slash or a dot is the directory, and all parts are shown.
  Example: stead logs web -f`,
  options: { follow: { type: 'boolean', short: 'f' }, lines: { type: 'string', short: 'n' } },
  argumentsMax: 2,
  async run(input) {
    const [first = null, second = null] = input.arguments
    const onlyApp = first !== null && second === null && isDirectory(first)
    const follow = input.flag('follow')
    const tail = input.number('lines', 1, linesMax) ?? (follow ? 10 : 100)
    const target = await needTarget(onlyApp ? first : second)
    const abort = new AbortController()
    process.once('SIGINT', () => abort.abort())
    const lines = target.operator.logs(target.app, onlyApp ? null : first, { tail, follow, signal: abort.signal })
    const show = input.json ? (line: LogLine): void => print(JSON.stringify(line)) : shower()
    for await (const line of lines) show(line)
    return exitCodes.ok
  },
}

/** Prints lines with the name of their part, each part in a colour of its own. */
function shower(): (line: LogLine) => void {
  const colours = ['cyan', 'magenta', 'green', 'yellow', 'blue'] as const
  const seen: string[] = []
  return (line) => {
    const part = line.assignment.split('.')[1] ?? line.assignment
    if (!seen.includes(part)) seen.push(part)
    const colour = colours[seen.indexOf(part) % colours.length] ?? 'cyan'
    const time = new Date(line.timeMs).toISOString().slice(11, 23)
    const text = line.by === 'platform' ? paint('yellow', `stead: ${line.text}`) : line.text
    print(`${paint('dim', time)} ${paint(colour, part.padEnd(10))} ${text}`)
  }
}
