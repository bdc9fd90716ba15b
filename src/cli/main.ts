/**
 * The `stead` command: finds the command, runs it, and turns what it throws into a sentence. A foreseen failure prints one
 * sentence and a hint; anything else is a bug and prints its stack.
 */
import { helpOf, readInput, usage } from './command.ts'
import { type ExitCode, exitCodes } from './exit-codes.ts'
import { asForeseen } from './failure.ts'
import { commands, unlisted } from './table.ts'
import { note, paint, print } from './terminal.ts'

/** The commands, one a line. */
async function help(): Promise<string> {
  const listed = Object.entries(commands).filter(([name]) => !unlisted.has(name))
  const all = await Promise.all(listed.map(([, load]) => load()))
  const words = all.map(({ name, usage: more }) => `stead ${name} ${more}`.trimEnd())
  const width = Math.max(...words.map((text) => text.length))
  const lines = all.map(({ summary }, index) => `  ${(words[index] ?? '').padEnd(width)}   ${summary}`)
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
    const about = name === 'help' ? commands[argv[at + 1] ?? ''] : undefined
    print(about === undefined ? await help() : helpOf(await about()))
    return name === undefined && !wantsHelp ? exitCodes.usage : exitCodes.ok
  }
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (load === undefined)
    throw usage(
      `there is no command ${name}`,
      `The commands are: ${Object.keys(commands)
        .filter((known) => !unlisted.has(known))
        .join(', ')}.`,
    )
  const command = await load()
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

// Who reads the output may have seen enough, as `head` has: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit()
  throw error
})

const argv = process.argv.slice(2)
process.exitCode = await main(argv).catch((error: unknown) => explain(error, argv.includes('--json')))
