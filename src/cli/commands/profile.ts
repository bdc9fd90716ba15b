/** `stead profile`: where the time or the memory of a program goes, as a flame graph. */
import { writeFileSync } from 'node:fs'
import { abilityOf, flameGraph, type ProfileKind, profileMsMax } from '../../debug/index.ts'
import { type Command, helpOf, usage } from '../command.ts'
import { awake, lookHelp, lookInto, lookOptions, untilInterrupted } from '../debugging.ts'
import { exitCodes } from '../exit-codes.ts'
import { needWritable } from '../output-file.ts'
import { note, print } from '../terminal.ts'

const usualSeconds = 10
const titles: Readonly<Record<ProfileKind, string>> = { cpu: 'work', wall: 'time', heap: 'memory' }
const kinds: readonly ProfileKind[] = ['cpu', 'wall', 'heap']

export const profileCommand: Command = {
  name: 'profile',
  usage: 'PART[/INSTANCE]',
  summary: 'where the time or the memory of a program goes, as a flame graph',
  help: `${lookHelp}
  --cpu        what works (as usual); --wall where time passes, waiting too; --heap what allocates memory
  --seconds    how long (${usualSeconds}); Ctrl-C ends it sooner and keeps what there is
  --out        name of the files to write, without an ending (profile)
  --json       the names of the files as JSON
  Writes NAME.svg, which any browser shows, and the raw profile for the language's own tools.
  Example: stead profile web --seconds 5`,
  options: {
    ...lookOptions,
    cpu: { type: 'boolean' },
    wall: { type: 'boolean' },
    heap: { type: 'boolean' },
    seconds: { type: 'string' },
    out: { type: 'string' },
  },
  argumentsMax: 1,
  async run(input) {
    const seconds = input.number('seconds', 1, profileMsMax / 1000) ?? usualSeconds
    const [kind = 'cpu', ...more] = kinds.filter((word) => input.flag(word))
    if (more.length > 0) throw usage('one of --cpu, --wall and --heap at a time', helpOf(profileCommand))
    const name = input.text('out') ?? 'profile'
    needWritable(`${name}.svg`)
    using _awake = awake()
    const { looked } = await lookInto(input, profileCommand, abilityOf(kind))
    await using open = looked
    if (!input.json) note(`profiling for ${seconds} s`)
    const profile = await open.profile({ kind, durationMs: seconds * 1000 }, untilInterrupted())
    const picture = `${name}.svg`
    const raw = `${name}.${profile.raw.extension}`
    writeFileSync(picture, flameGraph(profile, `${titles[kind]} of ${open.name}`))
    writeFileSync(raw, profile.raw.text)
    print(input.json ? JSON.stringify({ picture, raw }) : `${picture}\n${raw}`)
    return exitCodes.ok
  },
}
