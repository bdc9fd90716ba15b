/**
 * What a command is, and how its words are read. Invariant: a command gets only options it has declared, and numbers
 * within their bounds; everything else is refused with the command's own help.
 */
import { parseArgs } from 'node:util'
import { SteadError } from '../base/index.ts'

export interface Option {
  readonly type: 'boolean' | 'string'
  readonly short?: string
  /** May be given more than once. */
  readonly multiple?: boolean
}

export interface Command {
  readonly name: string
  /** What follows the name, as in `[PART] [DIR]`. */
  readonly usage: string
  /** A few words for `stead help`. */
  readonly summary: string
  /** Options, exit codes, an example. Shown under usage and summary. */
  readonly help: string
  /** Beside --help and --json, which every command has. */
  readonly options: Readonly<Record<string, Option>>
  readonly argumentsMax: number
  /** Takes the words of another program after `--`. */
  readonly takesProgram?: boolean
  /** Its options are those of another program: all words are its arguments, but for a --help that comes first. */
  readonly takesWords?: boolean
  /** Answers the exit code: one of `exitCodes`, or that of the program it ran. */
  run(input: Input): Promise<number>
}

/** The words after the command's name, read as it declared them. */
export interface Input {
  readonly arguments: readonly string[]
  /** The words after `--`, for a command that takes a program. */
  readonly program: readonly string[]
  readonly json: boolean
  flag(name: string): boolean
  text(name: string): string | null
  texts(name: string): readonly string[]
  /** A whole number; null when it was not given. Throws `cli.usage` outside the bounds. */
  number(name: string, min: number, max: number): number | null
}

/** The whole help of a command. */
export function helpOf(command: Command): string {
  const head = `stead ${command.name}${command.usage === '' ? '' : ` ${command.usage}`}     ${command.summary}`
  return `${head}\n\n${command.help}`
}

/** A longer help is named and not shown when a word was wrong. */
const hintLinesMax = 30

const common = { help: { type: 'boolean', short: 'h' }, json: { type: 'boolean' } } as const

/** Reads the words after the command's name; null when its help is asked for. Throws `cli.usage`. */
export function readInput(command: Command, argv: readonly string[]): Input | null {
  const end = command.takesProgram === true ? argv.indexOf('--') : -1
  const program = end === -1 ? [] : argv.slice(end + 1)
  const { values, positionals } =
    command.takesWords === true ? wordsOf(argv) : parse(command, end === -1 ? argv : argv.slice(0, end))
  if (values['help'] === true) return null
  if (positionals.length > command.argumentsMax)
    throw usage(`stead ${command.name} got too many arguments`, helpOf(command))
  const textOf = (name: string): string | null => {
    const value = values[name]
    return typeof value === 'string' ? value : null
  }
  return {
    arguments: positionals,
    program,
    json: values['json'] === true,
    flag: (name) => values[name] === true,
    text: textOf,
    texts(name) {
      const value = values[name]
      return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
    },
    number(name, min, max) {
      const given = textOf(name)
      if (given === null) return null
      const found = Number(given)
      if (Number.isInteger(found) && found >= min && found <= max) return found
      const short = command.options[name]?.short
      const option = short === undefined ? `--${name}` : `--${name} (-${short})`
      const example = `For example: --${name} ${Math.min(8080, max)}`
      throw usage(`${option} must be a number from ${min} to ${max}, not '${given}'`, example)
    },
  }
}

function wordsOf(argv: readonly string[]): { values: Record<string, unknown>; positionals: readonly string[] } {
  const [first = ''] = argv
  return ['--help', '-h'].includes(first)
    ? { values: { help: true }, positionals: [] }
    : { values: {}, positionals: argv }
}

function parse(command: Command, argv: readonly string[]): { values: Record<string, unknown>; positionals: string[] } {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      options: { ...command.options, ...common },
      allowPositionals: true,
    })
    return { values, positionals }
  } catch (error) {
    const unknown = error instanceof Error ? /'(-[^' ]+)/.exec(error.message)?.[1] : undefined
    const what =
      unknown !== undefined && error instanceof Error && error.message.startsWith('Unknown')
        ? `stead ${command.name} has no option ${unknown}`
        : `stead ${command.name}: ${error instanceof Error ? (error.message.split('.')[0] ?? '') : 'wrong options'}`
    throw usage(what, hintOf(command))
  }
}

/** The whole help where it is short: of a long one nobody finds what was wrong any more. */
function hintOf(command: Command): string {
  const help = helpOf(command)
  return help.split('\n').length <= hintLinesMax ? help : `\`stead help ${command.name}\` shows those that it has.`
}

export function usage(message: string, hint: string): SteadError {
  return new SteadError({ code: 'cli.usage', message, hint })
}
