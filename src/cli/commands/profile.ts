/** `stead profile`: where the time or the memory of a program goes, as a flame graph. */
import { writeFileSync } from 'node:fs'
import { flameGraph, profileMsMax } from '../../debug/index.ts'
import type { Command } from '../command.ts'
import { awake, lookHelp, lookInto, lookOptions, untilInterrupted } from '../debugging.ts'
import { exitCodes } from '../exit-codes.ts'
import { note, print } from '../terminal.ts'

const usualSeconds = 10

export const profileCommand: Command = {
  name: 'profile',
  usage: 'PART[/INSTANCE]',
  summary: 'where the time or the memory of a program goes, as a flame graph',
  help: `${lookHelp}
  --heap       what allocates memory, instead of what takes time
  --seconds    how long (${usualSeconds}); Ctrl-C ends it sooner and keeps what there is
  --out        name of the files to write, without an ending (profile)
  --json       the names of the files as JSON
  Writes NAME.svg, which any browser shows, and the raw profile for the language's own tools.
  Example: stead profile web --seconds 5`,
  options: { ...lookOptions, heap: { type: 'boolean' }, seconds: { type: 'string' }, out: { type: 'string' } },
  argumentsMax: 1,
  async run(input) {
    const seconds = input.number('seconds', 1, profileMsMax / 1000) ?? usualSeconds
    const kind = input.flag('heap') ? 'heap' : 'cpu'
    const name = input.text('out') ?? 'profile'
    using _awake = awake()
    const { looked } = await lookInto(input, profileCommand, `${kind}-profile`)
    await using open = looked
    if (!input.json) note(`profiling for ${seconds} s`)
    const profile = await open.profile({ kind, durationMs: seconds * 1000 }, untilInterrupted())
    const picture = `${name}.svg`
    const raw = `${name}.${profile.raw.extension}`
    writeFileSync(picture, flameGraph(profile, `${kind === 'cpu' ? 'time' : 'memory'} of ${open.name}`))
    writeFileSync(raw, profile.raw.text)
    print(input.json ? JSON.stringify({ picture, raw }) : `${picture}\n${raw}`)
    return exitCodes.ok
  },
}
