/** `stead vm`: the machine of a part that runs on a kernel of its own: its console, a debugger for its kernel, its kept states. */
import { SteadError } from '../../base/index.ts'
import { type KeptSnapshot, keptSnapshotsSchema, type MachineOrder, snapshotDeeds } from '../../protocol/index.ts'
import { carry } from '../carrying.ts'
import { type Command, helpOf, usage } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { contentOf, debugKernel, whereOf } from '../kernel.ts'
import { needTarget, type Target } from '../target.ts'
import { megabytes, note, paint, print, table } from '../terminal.ts'

/** Ctrl-] */
const leaveConsole = '\u001d'

export const vmCommand: Command = {
  name: 'vm',
  usage: 'console|debug|snapshot|restore|snapshots|forget PART [NAME]',
  summary: 'the console, the debugger and the kept states of a machine that a part has for itself',
  help: `  console      what its kernel says; of a program's guest a line typed opens a shell of its root. Ctrl-] leaves
  debug        a port on which gdb reaches the kernel, its symbols, and a command that lists its tasks
  Of a part that is a system on a disk (vm in the app file):
  snapshot     keeps its state, memory and disk, under NAME (default: the time); it stands still meanwhile
  restore      goes back to NAME; what came after it is gone, and connections of then are broken
  snapshots    lists what it has kept
  forget       drops NAME
  --app        the app (default: the one here); of console and debug also the last word
  --json       as JSON; not for console
  Parts have such a machine when the app file says so: isolation: 'kernel', or vm.
  Example: stead vm snapshot ledger before-upgrade`,
  options: { app: { type: 'string' } },
  argumentsMax: 3,
  async run(input) {
    const [verb, part, word = null] = input.arguments
    if (part === undefined) throw wrongUsage()
    const app = input.text('app')
    if (verb === 'console') return await showConsole(await needTarget(app ?? word), part)
    if (verb === 'debug') return await debugKernel(await whereOf(app ?? word, part), input.json)
    const target = await needTarget(app)
    if (verb === 'snapshots') return await listSnapshots(target, part, input.json)
    const deed = snapshotDeeds.find((one) => one === verb)
    const name =
      word ?? (deed === 'snapshot' ? `at-${new Date().toISOString().slice(0, 19).replaceAll(/[:T]/g, '-')}` : null)
    if (deed === undefined || name === null) throw wrongUsage()
    await ask(target, part, { what: deed, name })
    if (input.json) print(JSON.stringify({ part, [deed]: name }))
    else note(done[deed](part, name))
    return exitCodes.ok
  },
}

const done: Readonly<Record<(typeof snapshotDeeds)[number], (part: string, name: string) => string>> = {
  snapshot: (part, name) => `${part} is kept as ${name}. \`stead vm restore ${part} ${name}\` goes back to it.`,
  restore: (part, name) => `${part} goes on from ${name}.`,
  forget: (part, name) => `${name} of ${part} is forgotten.`,
}

function wrongUsage(): SteadError {
  const message =
    'stead vm needs console, debug, snapshot, restore, snapshots or forget, a part, and for restore and forget a name'
  return usage(message, helpOf(vmCommand))
}

async function ask({ operator, app }: Target, part: string, order: MachineOrder): Promise<string> {
  const stream = await operator.open(app, part, { kind: 'machine', ...order })
  return (await contentOf(stream)).toString()
}

async function listSnapshots(target: Target, part: string, json: boolean): Promise<number> {
  const kept = keptSnapshotsSchema.parse(JSON.parse(await ask(target, part, { what: 'snapshots' })))
  if (json) print(JSON.stringify(kept))
  else if (kept.length === 0) note(`${part} has kept no state. \`stead vm snapshot ${part}\` keeps one.`)
  else print(table([['NAME', 'TAKEN', 'MEMORY'].map((head) => paint('dim', head)), ...kept.map(rowOf)]))
  return exitCodes.ok
}

function rowOf({ name, timeMs, memoryBytes }: KeptSnapshot): string[] {
  return [name, new Date(timeMs).toISOString().replace('.000Z', 'Z'), megabytes(memoryBytes)]
}

async function showConsole({ operator, app }: Target, part: string): Promise<number> {
  const stream = await operator.open(app, part, { kind: 'machine', what: 'console' })
  note(`The console of ${part}. Enter opens a shell of its root, or what a system of its own has there. Ctrl-] leaves.`)
  await carry(stream, process.stdin.isTTY, leaveConsole)
  return exitCodes.ok
}
