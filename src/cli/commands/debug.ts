/** `stead debug`: a port for an editor that leads into a program that runs. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { SteadError } from '../../base/index.ts'
import {
  jetbrainsConfiguration,
  type LaunchTarget,
  mergedLaunchFile,
  neovimConfiguration,
  openDapServer,
  preparedLanguages,
  prepareFor,
  vscodeConfiguration,
} from '../../debug/index.ts'
import type { Command } from '../command.ts'
import { awake, lookHelp, lookInto, lookOptions, untilInterrupted } from '../debugging.ts'
import { exitCodes } from '../exit-codes.ts'
import { note, paint, print } from '../terminal.ts'

const launchFile = '.vscode/launch.json'

export const debugCommand: Command = {
  name: 'debug',
  usage: 'PART[/INSTANCE]',
  summary: 'a debugger in a program that runs',
  help: `${lookHelp}
  --local DIR  where its files lie here, when it sees them elsewhere and the ends of the paths differ
  --remote DIR where it sees them
  --write      puts the configuration into ${launchFile}
  --prepare DIR
               lays into DIR what programs of yours (not parts: these have it) are started with in languages that cannot
               be entered otherwise, and prints the variables to set. Until a debugger comes nothing listens.
  --json       one JSON object with the port and the configuration
  Attaches to what runs, prints what editors need, and stays until the editor says goodbye, or Ctrl-C. Only programs of your own
  user are let in. However it ends, breakpoints go and the program runs on. While an editor is there, a part is not taken for
  dead because it stands still.
  Example: stead debug web --write`,
  options: {
    ...lookOptions,
    local: { type: 'string' },
    remote: { type: 'string' },
    write: { type: 'boolean' },
    prepare: { type: 'string' },
  },
  argumentsMax: 1,
  async run(input) {
    const directory = input.text('prepare')
    if (directory !== null) return prepare(resolve(directory))
    using _awake = awake()
    const interrupted = untilInterrupted()
    const { looked } = await lookInto(input, debugCommand, 'dap')
    await using open = looked
    await using server = await openDapServer((client) => open.serveDap(client), note)
    const [local, remote] = [input.text('local'), input.text('remote')]
    const target: LaunchTarget = {
      name: open.name,
      language: open.language,
      port: server.port,
      roots: local === null || remote === null ? null : { local, remote },
    }
    if (input.flag('write')) writeLaunch(target)
    tell(target, input.json)
    const stopped = new Promise<void>((resolve) =>
      interrupted.addEventListener('abort', () => resolve(), { once: true }),
    )
    const lost = open.lost.then((reason) => note(`the debugger ended: ${reason}`))
    await Promise.race([server.finished, stopped, lost])
    return exitCodes.ok
  },
}

/** Writes what programs are started with, and says the variables that name it. */
function prepare(directory: string): number {
  for (const language of preparedLanguages) {
    const { env, files } = prepareFor(language, directory, process.env)
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, text)
    }
    for (const [name, value] of Object.entries(env))
      print(`export ${name}='${value.replaceAll("'", String.raw`'\''`)}'`)
  }
  return exitCodes.ok
}

function tell(target: LaunchTarget, json: boolean): void {
  const { port, language } = target
  const configuration = vscodeConfiguration(target)
  if (json) return print(JSON.stringify({ host: '127.0.0.1', port, language, configuration }))
  print(`127.0.0.1:${port}`)
  note(`${paint('bold', 'VS Code', process.stderr)}    ${JSON.stringify(configuration)}`)
  note(`${paint('bold', 'Neovim', process.stderr)}     ${neovimConfiguration(target)}`)
  note(`${paint('bold', 'JetBrains', process.stderr)}  ${jetbrainsConfiguration(target)}`)
}

function writeLaunch(target: LaunchTarget): void {
  const merged = mergedLaunchFile(readIfThere(launchFile), vscodeConfiguration(target))
  if (merged === null) {
    throw new SteadError({
      code: 'cli.launch-file-unreadable',
      message: `${launchFile} is no plain JSON, so that writing it would lose something`,
      hint: 'Put the printed configuration in by hand, or take the comments out.',
    })
  }
  mkdirSync('.vscode', { recursive: true })
  writeFileSync(launchFile, merged)
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}
