/** `stead status`, `stead graph`, `stead logs`: questions to the running platform. */
import { createInterface } from 'node:readline'
import { dirname } from 'node:path'
import { SteadError } from '../../base/index.ts'
import { findAppFile } from '../../evaluate/index.ts'
import type { Graph, Part } from '../../model/index.ts'
import type { LogLine } from '../../protocol/index.ts'
import { readGraph } from '../bundling.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { homeOf } from '../home.ts'
import { askJson, askOperator, type PartStatus, type Status } from '../operator.ts'
import { duration, megabytes, note, paint, print, table } from '../terminal.ts'

export const statusHelp = `stead status [DIR]     what runs, and how it is

  --json        as JSON
  Exit code 0: all is well; 4: something is not; 3: the app does not run.
  Example: stead status examples/shop --json`

export const graphHelp = `stead graph [DIR]     the parts of the app and who uses what

  --json        the graph as JSON
  Works whether the app runs or not.
  Example: stead graph examples/shop`

export const logsHelp = `stead logs [PART] [DIR]     what the parts print

  -f, --follow  go on as it comes
  -n N          only the last N lines (default 100, with -f 10)
  --json        one JSON object a line
  PART may be left out; a directory is recognised by its slash or dot.
  Example: stead logs web -f`

/** The places of the app in a directory. Throws when there is no app. */
async function homeAt(directory: string): Promise<ReturnType<typeof homeOf>> {
  return homeOf(dirname(await findAppFile(directory)))
}

function notRunning(directory: string): SteadError {
  return new SteadError({
    code: 'cli.not-running',
    message: `the app in ${directory} does not run`,
    hint: `Start it with \`stead up ${directory}\`.`,
  })
}

export async function status(options: { directory: string; json: boolean }): Promise<ExitCode> {
  const home = await homeAt(options.directory)
  const found = await askJson<Status>(home.operatorSocket, 'GET', '/status')
  if (found === null) {
    if (options.json) print(JSON.stringify({ running: false }))
    else note(`The app in ${options.directory} does not run. Start it with \`stead up ${options.directory}\`.`)
    return exitCodes.notRunning
  }
  if (options.json) print(JSON.stringify({ running: true, ...found }))
  else printStatus(found)
  return found.parts.every(isWell) ? exitCodes.ok : exitCodes.degraded
}

function isWell(part: PartStatus): boolean {
  return ['ready', 'scheduled', 'succeeded'].includes(part.phase)
}

function printStatus(found: Status): void {
  const { sandbox, network, domain } = found.drivers
  print(
    `${paint('bold', found.app)}  release ${found.release}  ${paint('dim', `sandbox ${sandbox}, network ${network}, data ${domain}, process ${found.pid}`)}`,
  )
  for (const url of found.urls) print(paint('cyan', url))
  const rows = found.parts.map((part) => [
    part.part,
    part.kind,
    isWell(part) ? paint('green', part.phase) : paint('red', part.phase),
    part.sinceMs === null ? '' : duration(Date.now() - part.sinceMs),
    part.memoryBytes === null ? '' : megabytes(part.memoryBytes),
    part.restarts === 0 ? '' : `${part.restarts} restarts`,
    part.reason?.split('\n')[0] ?? '',
  ])
  print(`\n${table([['PART', 'KIND', 'STATE', 'SINCE', 'MEMORY', '', ''].map((head) => paint('dim', head)), ...rows])}`)
  for (const line of found.weaker) print(`\n${paint('yellow', 'weaker')} ${line}`)
}

export async function graph(options: { directory: string; json: boolean }): Promise<ExitCode> {
  const appFile = await findAppFile(options.directory)
  const home = homeOf(dirname(appFile))
  const found = (await askJson<Graph>(home.operatorSocket, 'GET', '/graph')) ?? (await readGraph(appFile, note))
  if (options.json) print(JSON.stringify(found))
  else printGraph(found)
  return exitCodes.ok
}

function printGraph(found: Graph): void {
  print(paint('bold', found.app))
  for (const route of found.routes)
    print(`  ${paint('cyan', route.host + (route.path === '/' ? '' : route.path))} → ${route.part}`)
  const rows = found.parts.map((part) => [
    `  ${part.name}`,
    paint('dim', kindOf(part)),
    part.kind === 'resource' || part.uses.length === 0 ? '' : `→ ${part.uses.map((use) => use.part).join(', ')}`,
  ])
  print(table(rows))
}

function kindOf(part: Part): string {
  if (part.kind === 'resource') return part.type
  if (part.kind === 'job') return part.schedule === null ? 'job, once' : `job, "${part.schedule}" UTC`
  return part.replicas === 1 ? 'service' : `service × ${part.replicas}`
}

export async function logs(options: {
  part: string | null
  directory: string
  json: boolean
  follow: boolean
  tail: number | null
}): Promise<ExitCode> {
  const home = await homeAt(options.directory)
  const query = new URLSearchParams({
    follow: String(options.follow),
    tail: String(options.tail ?? (options.follow ? 10 : 100)),
  })
  if (options.part !== null) query.set('part', options.part)
  const answer = await askOperator(home.operatorSocket, 'GET', `/logs?${query.toString()}`)
  if (answer === null) throw notRunning(options.directory)
  process.once('SIGINT', () => answer.destroy())
  const colours = ['cyan', 'magenta', 'green', 'yellow', 'blue'] as const
  const seen: string[] = []
  try {
    for await (const text of createInterface({ input: answer })) {
      if (options.json) {
        print(text)
        continue
      }
      const line = JSON.parse(text) as LogLine
      const part = line.assignment.split('.')[1] ?? line.assignment
      if (!seen.includes(part)) seen.push(part)
      const colour = colours[seen.indexOf(part) % colours.length] ?? 'cyan'
      print(
        `${paint('dim', new Date(line.timeMs).toISOString().slice(11, 23))} ${paint(colour, part.padEnd(10))} ${line.text}`,
      )
    }
  } catch (error) {
    if (!answer.destroyed) throw error
  }
  return exitCodes.ok
}
