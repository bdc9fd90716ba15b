/** `stead debug`: a port for an editor that leads into a program that runs. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { messageOf, SteadError } from '../../base/index.ts'
import {
  emacsConfiguration,
  jetbrainsConfiguration,
  kernelTraces,
  type LaunchTarget,
  mergedLaunchFile,
  neovimConfiguration,
  openDapServer,
  preparedLanguages,
  prepareFor,
  vscodeConfiguration,
} from '../../debug/index.ts'
import { type Command, helpOf, type Input, usage } from '../command.ts'
import {
  awake,
  coreHelp,
  coreOptions,
  lookHelp,
  lookInto,
  lookOptions,
  lookWords,
  untilInterrupted,
} from '../debugging.ts'
import { exitCodes } from '../exit-codes.ts'
import { debugKernel, listTraces, whereOf, noSuchTrace, runTrace } from '../kernel.ts'
import { cannotWrite } from '../output-file.ts'
import { findTarget } from '../target.ts'
import { note, paint, print } from '../terminal.ts'

const launchFile = '.vscode/launch.json'
const usualSeconds = 10

export const debugCommand: Command = {
  name: 'debug',
  usage: '[PART[/INSTANCE] [APP]]',
  summary: 'a debugger in a program that runs',
  help: `${lookHelp}${coreHelp}
  --local DIR  where its files lie here, when it sees them elsewhere and the ends of the paths differ
  --remote DIR where it sees them
  --keep-traffic
               requests go on coming to an instance that stands at a breakpoint, though others could answer them
  --write      puts the configuration into ${launchFile}
  --kernel     the kernel instead: of a PART that has one of its own (isolation: 'kernel') a port for gdb, its symbols, and a
               command that lists its tasks; without PART the traces of a machine's kernel, which stop nothing
  --trace NAME runs one of these; --bpftrace PROGRAM one of your own, which is a right of its own
  --seconds N  for so long (10); Ctrl-C ends it sooner, with what there is
  --node NODE  on that node, where there are several; without a platform it is this machine
  --prepare DIR
               lays into DIR what programs of yours (not parts: these have it) are started with in languages that cannot
               be entered otherwise, and prints the variables to set. Until a debugger comes nothing listens.
  --json       one JSON object with the port and the configuration
  Attaches to what runs, prints what editors need, and stays until the editor says goodbye, or Ctrl-C. Only programs of your own
  user are let in. However it ends, breakpoints go and the program runs on. While an editor is there, a part is not taken for
  dead because it stands still; while it stands, requests go to its other instances, where there are any. The session outlives
  a platform that is started anew; a line that stays broken for 15 seconds ends it.
  Example: stead debug web --write`,
  options: {
    ...lookOptions,
    ...coreOptions,
    local: { type: 'string' },
    remote: { type: 'string' },
    'keep-traffic': { type: 'boolean' },
    write: { type: 'boolean' },
    kernel: { type: 'boolean' },
    trace: { type: 'string' },
    bpftrace: { type: 'string' },
    seconds: { type: 'string' },
    node: { type: 'string' },
    prepare: { type: 'string' },
  },
  argumentsMax: 2,
  async run(input) {
    const directory = input.text('prepare')
    if (directory !== null) return prepare(resolve(directory))
    if (input.flag('kernel')) return await lookIntoKernel(input)
    using _awake = awake()
    const interrupted = untilInterrupted()
    const wish = { keepTraffic: input.flag('keep-traffic') }
    await using open = await lookInto(input, debugCommand, 'dap', wish)
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

async function lookIntoKernel(input: Input): Promise<number> {
  const { program: part, app } = lookWords(input, debugCommand, () => false)
  const [name, program] = [input.text('trace'), input.text('bpftrace')]
  if (part !== null && (name !== null || program !== null))
    throw usage('a trace is of a machine, and not of a part', helpOf(debugCommand))
  if (part !== null) return await debugKernel(await whereOf(app, part), input.json)
  if (name !== null && program !== null) throw usage('--trace or --bpftrace, not both', helpOf(debugCommand))
  if (name === null && program === null) return listTraces(input.json)
  if (name !== null && !kernelTraces.some((one) => one.name === name)) throw noSuchTrace(name)
  const wish =
    program === null ? ({ kind: 'reviewed', name: name ?? '' } as const) : ({ kind: 'own', program } as const)
  const durationMs = (input.number('seconds', 1, 3600) ?? usualSeconds) * 1000
  // A machine has a kernel whether an app runs here or not.
  const target = await findTarget(input.text('app')).catch((error: unknown) => {
    if (input.text('app') !== null) throw error
    return null
  })
  return await runTrace(target, { wish, durationMs, node: input.text('node') })
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
  note(`${paint('bold', 'Emacs', process.stderr)}      M-: ${emacsConfiguration(target)}`)
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
  try {
    mkdirSync('.vscode', { recursive: true })
    writeFileSync(launchFile, merged)
  } catch (error) {
    throw cannotWrite(launchFile, messageOf(error))
  }
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}
