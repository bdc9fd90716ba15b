/** `stead vm`: the machine of a part that runs on a kernel of its own: its console, and a debugger for its kernel. */
import { carry } from '../carrying.ts'
import { type Command, helpOf, usage } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { debugKernel } from '../kernel.ts'
import { needTarget, type Target } from '../target.ts'
import { note } from '../terminal.ts'

/** Ctrl-] */
const leaveConsole = '\u001d'

export const vmCommand: Command = {
  name: 'vm',
  usage: 'console|debug PART [APP]',
  summary: 'the console and the debugger of a kernel that a part has for itself',
  help: `  console      what its kernel says; a line typed opens a shell of the guest's root. Ctrl-] leaves
  debug        a port on which gdb reaches the kernel, its symbols, and a command that lists its tasks
  --json       for debug, one JSON object with what it prints
  Parts have such a kernel when the app file says so: isolation: 'kernel'.
  Example: stead vm console web`,
  options: {},
  argumentsMax: 3,
  async run({ arguments: [verb, part, word = null], json }) {
    if (part === undefined || (verb !== 'console' && verb !== 'debug'))
      throw usage('stead vm needs console or debug, and the name of a part', helpOf(vmCommand))
    const target = await needTarget(word)
    return verb === 'console' ? await showConsole(target, part) : await debugKernel(target, part, json)
  },
}

async function showConsole({ operator, app }: Target, part: string): Promise<number> {
  const stream = await operator.open(app, part, { kind: 'machine', what: 'console' })
  note(`The console of ${part}. Enter opens a shell of its root, Ctrl-] leaves.`)
  await carry(stream, process.stdin.isTTY, leaveConsole)
  return exitCodes.ok
}
