/** `stead stack`: where a program stands. */
import type { Frame, StackReport } from '../../debug/index.ts'
import type { Command } from '../command.ts'
import { awake, coreHelp, coreOptions, lookHelp, lookInto, lookOptions } from '../debugging.ts'
import { exitCodes } from '../exit-codes.ts'
import { note, paint, print } from '../terminal.ts'

export const stackCommand: Command = {
  name: 'stack',
  usage: 'PART[/INSTANCE] [APP]',
  summary: 'where a program stands, now',
  help: `${lookHelp}${coreHelp}
  --json       as JSON
  It is stopped once, for less than a tenth of a second; also one that hangs in a loop can be asked. Frames after "asked
  for by" are what had started the asynchronous work. Nothing has to be prepared, and nothing stays behind.
  Example: stead stack web`,
  options: { ...lookOptions, ...coreOptions },
  argumentsMax: 2,
  async run(input) {
    using _awake = awake()
    await using open = await lookInto(input, stackCommand, 'stack')
    const report = await open.stack()
    if (input.json) print(JSON.stringify(report))
    else show(report)
    return exitCodes.ok
  },
}

function show({ threads, waitingFor, stoppedMs }: StackReport): void {
  for (const { name, state, frames } of threads) {
    print(`${paint('bold', name)} ${frames.length === 0 ? 'waits for something to happen' : `is ${state}`}`)
    let asked = false
    for (const frame of frames) {
      if (frame.asynchronous === true && !asked) print(paint('dim', '  asked for by'))
      asked ||= frame.asynchronous === true
      print(`  ${frame.name}${placeOf(frame)}`)
    }
  }
  if (waitingFor.length > 0) print(`waits for ${waitingFor.join(', ')}`)
  if (stoppedMs > 0) note(paint('dim', `stopped for at most ${Math.ceil(stoppedMs)} ms`, process.stderr))
}

function placeOf({ file, line }: Frame): string {
  return file === '' ? '' : `  ${paint('dim', `${file}:${line}`)}`
}
