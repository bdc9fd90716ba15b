/** `stead incidents`: what tripped the wires of the parts, as a time line, and what becomes of what is frozen. */
import { SteadError } from '../../base/index.ts'
import type { Incident } from '../../protocol/index.ts'
import { type Command, usage } from '../command.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { needTarget, type Target } from '../target.ts'
import { note, paint, print, table } from '../terminal.ts'

export const incidentsCommand: Command = {
  name: 'incidents',
  usage: '[ID | release ID | kill ID]',
  summary: 'what tripped a wire, and what was done about it',
  help: `  release ID    lets the frozen instance go on
  kill ID       ends it for good
  --app APP     a directory (default: here), or the name of an app that \`stead serve\` runs
  --json        as JSON
  Parts have wires when the app file says so: tripwire: 'record', or 'freeze'.
  Exit code 4 when something is frozen and waits for a decision.
  Example: stead incidents release web-4k2m7x0q`,
  options: { app: { type: 'string' } },
  argumentsMax: 2,
  async run(input) {
    const [first = null, second] = input.arguments
    const target = await needTarget(input.text('app'))
    if (first === 'release' || first === 'kill') {
      if (second === undefined)
        throw usage(`stead incidents ${first} needs the id of an incident`, 'See `stead incidents`.')
      return settle(target, first, second, input.json)
    }
    if (second !== undefined) throw usage(`stead incidents got too many arguments`, 'See `stead incidents --help`.')
    return show(target, first, input.json)
  },
}

async function settle(
  { operator, app }: Target,
  how: 'release' | 'kill',
  id: string,
  json: boolean,
): Promise<ExitCode> {
  const incident = await operator.settle(app, id, how === 'kill' ? 'end' : 'release')
  if (json) print(JSON.stringify(incident))
  else note(how === 'kill' ? `${incident.instance} is ended.` : `${incident.instance} goes on.`)
  return exitCodes.ok
}

async function show({ operator, app }: Target, id: string | null, json: boolean): Promise<ExitCode> {
  const all = await operator.incidents(app)
  const found = id === null ? all : all.filter((one) => one.id === id)
  if (id !== null && found.length === 0) {
    throw new SteadError({
      code: 'cli.unknown-incident',
      message: `${app} has no incident ${id}`,
      hint: 'See `stead incidents`.',
    })
  }
  if (json) print(JSON.stringify(found))
  else if (found.length === 0) print(`Nothing of ${app} has tripped a wire.`)
  else if (id === null) printList(found)
  else for (const one of found) printIncident(one)
  return found.some(({ state }) => state === 'frozen') ? exitCodes.degraded : exitCodes.ok
}

function stateOf({ state }: Incident): string {
  return state === 'frozen' ? paint('red', state) : state
}

function printList(incidents: readonly Incident[]): void {
  const rows = incidents.map((one) => [one.id, one.part, stateOf(one), timeOf(one.timeMs), one.what])
  print(table([['INCIDENT', 'PART', 'STATE', 'WHEN', 'WHAT'].map((head) => paint('dim', head)), ...rows]))
}

function printIncident(incident: Incident): void {
  print(`${paint('bold', incident.id)}  ${stateOf(incident)}`)
  print(`${incident.instance}: ${incident.what}`)
  for (const { timeMs, text } of incident.timeline) print(`  ${paint('dim', timeOf(timeMs))}  ${text}`)
  print(`Evidence, on its node: ${incident.evidence}`)
  if (incident.state === 'frozen')
    print(
      `It stands still until \`stead incidents release ${incident.id}\` or \`stead incidents kill ${incident.id}\`.`,
    )
}

/** To the millisecond: an order of events is read from it. */
function timeOf(timeMs: number): string {
  return new Date(timeMs).toISOString().replace('T', ' ').replace('Z', '')
}
