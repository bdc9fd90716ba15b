/**
 * The `stead` command: finds the command, runs it, and turns what it throws into a sentence. A foreseen failure prints one
 * sentence and a hint; anything else is a bug and prints its stack.
 */
import { type Command, helpOf, readInput, usage } from './command.ts'
import { doctorCommand } from './commands/doctor.ts'
import { downCommand } from './commands/down.ts'
import { execCommand } from './commands/exec.ts'
import { forwardCommand } from './commands/forward.ts'
import { graphCommand } from './commands/graph.ts'
import { jobsCommand } from './commands/jobs.ts'
import { logsCommand } from './commands/logs.ts'
import { restartCommand, startCommand, stopCommand } from './commands/order.ts'
import { runCommand } from './commands/run.ts'
import { statusCommand } from './commands/status.ts'
import { upCommand } from './commands/up.ts'
import { type ExitCode, exitCodes } from './exit-codes.ts'
import { asForeseen } from './failure.ts'
import { note, paint, print } from './terminal.ts'

const commands: readonly Command[] = [
  upCommand,
  statusCommand,
  logsCommand,
  graphCommand,
  stopCommand,
  startCommand,
  restartCommand,
  jobsCommand,
  runCommand,
  execCommand,
  forwardCommand,
  downCommand,
  doctorCommand,
]

/** The commands, one a line. */
function help(): string {
  const words = commands.map(({ name, usage: more }) => `stead ${name} ${more}`.trimEnd())
  const width = Math.max(...words.map((text) => text.length))
  const lines = commands.map(({ summary }, index) => `  ${(words[index] ?? '').padEnd(width)}   ${summary}`)
  return `stead: runs applications that have state

${lines.join('\n')}

Every command takes --json and --help. Example: stead up examples/shop
Exit codes: 0 done; 1 tried and failed; 2 wrong command line; 3 the app does not run; 4 it runs, but not all is well.`
}

async function main(argv: readonly string[]): Promise<number> {
  const at = argv.findIndex((word) => !word.startsWith('-'))
  const name = at === -1 ? undefined : argv[at]
  const wantsHelp = argv.includes('--help') || argv.includes('-h')
  if (name === undefined || name === 'help') {
    const about = commands.find((command) => command.name === argv[at + 1])
    print(name === 'help' && about !== undefined ? helpOf(about) : help())
    return name === undefined && !wantsHelp ? exitCodes.usage : exitCodes.ok
  }
  const command = commands.find((candidate) => candidate.name === name)
  if (command === undefined)
    throw usage(`there is no command ${name}`, `The commands are: ${commands.map((known) => known.name).join(', ')}.`)
  const input = readInput(command, argv.toSpliced(at, 1))
  if (input !== null) return command.run(input)
  print(helpOf(command))
  return exitCodes.ok
}

function explain(thrown: unknown, json: boolean): ExitCode {
  const error = asForeseen(thrown)
  if (error === null) {
    note(thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown))
    note('This is a bug in stead: please report it with the lines above.')
    return exitCodes.failed
  }
  if (json) print(JSON.stringify({ error: error.code, message: error.message, hint: error.hint ?? null }))
  else {
    note(`${paint('red', 'stead:', process.stderr)} ${error.message}`)
    if (error.hint !== undefined) note(error.hint.replace(/^/gm, '  '))
  }
  return error.code === 'cli.usage'
    ? exitCodes.usage
    : ['cli.not-running', 'operator.not-running'].includes(error.code)
      ? exitCodes.notRunning
      : exitCodes.failed
}

const argv = process.argv.slice(2)
process.exitCode = await main(argv).catch((error: unknown) => explain(error, argv.includes('--json')))
