/** `stead profile`: where the time or the memory of a process goes, as a flame graph. */
import { writeFileSync } from 'node:fs'
import { flameGraph, profileMsMax } from '../../debug/index.ts'
import type { Command } from '../command.ts'
import { attachTo, awake, pidOption, untilInterrupted } from '../debugging.ts'
import { exitCodes } from '../exit-codes.ts'
import { note, print } from '../terminal.ts'

const usualSeconds = 10

export const profileCommand: Command = {
  name: 'profile',
  usage: '--pid PID',
  summary: 'where the time or the memory of a process goes, as a flame graph',
  help: `  --pid        a process of this machine, in a sandbox or not
  --heap       what allocates memory, instead of what takes time
  --seconds    how long (${usualSeconds}); Ctrl-C ends it sooner and keeps what there is
  --out        name of the files to write, without an ending (profile-PID)
  --json       the names of the files as JSON
  Writes NAME.svg, which any browser shows, and the raw profile for the language's own tools.
  Example: stead profile --pid 4711 --seconds 5`,
  options: { ...pidOption, heap: { type: 'boolean' }, seconds: { type: 'string' }, out: { type: 'string' } },
  argumentsMax: 0,
  async run(input) {
    const seconds = input.number('seconds', 1, profileMsMax / 1000) ?? usualSeconds
    const kind = input.flag('heap') ? 'heap' : 'cpu'
    const name = input.text('out') ?? `profile-${input.text('pid') ?? ''}`
    using _awake = awake()
    await using attached = await attachTo(input, profileCommand, kind === 'heap' ? 'heap-profile' : 'cpu-profile')
    if (!input.json) note(`profiling for ${seconds} s`)
    const profile = await attached.profile({ kind, durationMs: seconds * 1000 }, untilInterrupted())
    const picture = `${name}.svg`
    const raw = `${name}.${profile.raw.extension}`
    writeFileSync(picture, flameGraph(profile, `${kind === 'cpu' ? 'time' : 'memory'} of process ${input.text('pid')}`))
    writeFileSync(raw, profile.raw.text)
    print(input.json ? JSON.stringify({ picture, raw }) : `${picture}\n${raw}`)
    return exitCodes.ok
  },
}
