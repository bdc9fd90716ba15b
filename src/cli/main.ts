/**
 * The `stead` command: reads the command line, runs one command, and turns what it throws into a sentence. A foreseen
 * failure prints one sentence and a hint; anything else is a bug and prints its stack.
 */
import { parseArgs } from 'node:util'
import { isSteadError, SteadError } from '../base/index.ts'
import { doctor, doctorHelp } from './commands/doctor.ts'
import { down, downHelp } from './commands/down.ts'
import { graph, graphHelp, logs, logsHelp, status, statusHelp } from './commands/status.ts'
import { up, upHelp } from './commands/up.ts'
import { type ExitCode, exitCodes } from './exit-codes.ts'
import { note, paint, print } from './terminal.ts'

const help = `stead: runs applications that have state

  stead up [DIR]           run the app in DIR and keep it running
  stead status [DIR]       what runs, and how it is
  stead logs [PART] [DIR]  what the parts print; -f to follow
  stead graph [DIR]        the parts and who uses what
  stead down [DIR]         stop it; its data stays
  stead doctor             what this machine can do

Every command takes --json and --help. Example: stead up examples/shop
Exit codes: 0 done; 1 tried and failed; 2 wrong command line; 3 the app does not run; 4 it runs, but not all is well.`

const helps: Readonly<Record<string, string>> = {
  up: upHelp,
  status: statusHelp,
  logs: logsHelp,
  graph: graphHelp,
  down: downHelp,
  doctor: doctorHelp,
}

const flags = {
  help: { type: 'boolean', short: 'h', default: false },
  json: { type: 'boolean', default: false },
  port: { type: 'string' },
  detach: { type: 'boolean', default: false },
  follow: { type: 'boolean', short: 'f', default: false },
  lines: { type: 'string', short: 'n' },
  'delete-data': { type: 'boolean', default: false },
} as const

/** The flags each command knows, beside --help and --json. */
const known: Readonly<Record<string, readonly string[]>> = {
  up: ['port', 'detach'],
  logs: ['follow', 'lines'],
  down: ['delete-data'],
}

async function main(argv: readonly string[]): Promise<ExitCode> {
  const { values, positionals } = parse(argv)
  const [command, ...rest] = positionals
  if (command === undefined || command === 'help') {
    print(helps[rest[0] ?? ''] ?? help)
    return command === undefined && !values.help ? exitCodes.usage : exitCodes.ok
  }
  const own = helps[command]
  if (own === undefined)
    throw usage(`there is no command ${command}`, `The commands are: ${Object.keys(helps).join(', ')}.`)
  if (values.help) {
    print(own)
    return exitCodes.ok
  }
  for (const [flag, value] of Object.entries(values)) {
    const given = value !== undefined && value !== false
    if (given && flag !== 'json' && !(known[command] ?? []).includes(flag))
      throw usage(`stead ${command} has no option --${flag}`, own)
  }
  const { json } = values
  const directory = rest[0] ?? '.'
  if (rest.length > (command === 'logs' ? 2 : command === 'doctor' ? 0 : 1))
    throw usage(`stead ${command} got too many arguments`, own)
  switch (command) {
    case 'up':
      return up({ directory, port: number('--port', values.port ?? '8080', 0, 65_535), json, detach: values.detach })
    case 'status':
      return status({ directory, json })
    case 'graph':
      return graph({ directory, json })
    case 'down':
      return down({ directory, json, deleteData: values['delete-data'] })
    case 'doctor':
      return doctor({ json })
    default: {
      const isDirectory = (text: string | undefined): boolean => text !== undefined && /[./]/.test(text)
      const part = rest.find((text) => !isDirectory(text)) ?? null
      const tail = values.lines === undefined ? null : number('-n', values.lines, 1, 1_000_000)
      return logs({ part, directory: rest.find(isDirectory) ?? '.', json, follow: values.follow, tail })
    }
  }
}

type Flags = ReturnType<typeof parseArgs<{ options: typeof flags; allowPositionals: true }>>

function parse(argv: readonly string[]): Flags {
  try {
    return parseArgs({ args: [...argv], options: flags, allowPositionals: true })
  } catch (error) {
    throw usage(error instanceof Error ? (error.message.split('.')[0] ?? '') : 'wrong options', 'See `stead help`.')
  }
}

function number(name: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < min || value > max)
    throw usage(`${name} must be a number from ${min} to ${max}, not ${text}`, '')
  return value
}

function usage(message: string, hint: string): SteadError {
  return new SteadError({ code: 'cli.usage', message, ...(hint === '' ? {} : { hint }) })
}

function explain(error: unknown, json: boolean): ExitCode {
  if (!isSteadError(error)) {
    note(error instanceof Error ? (error.stack ?? error.message) : String(error))
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
    : error.code === 'cli.not-running'
      ? exitCodes.notRunning
      : exitCodes.failed
}

const argv = process.argv.slice(2)
process.exitCode = await main(argv).catch((error: unknown) => explain(error, argv.includes('--json')))
