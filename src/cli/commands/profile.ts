/** `stead profile`: where the time or the memory of a program goes, as a flame graph. */
import { writeFileSync } from 'node:fs'
import { abilityOf, flameGraph, type ProfileKind, profileMsMax } from '../../debug/index.ts'
import { formatDuration, parseDuration } from '../../model/index.ts'
import { type Command, helpOf, type Input, usage } from '../command.ts'
import { awake, lookHelp, lookInto, lookOptions, lookWords, untilInterrupted } from '../debugging.ts'
import { exitCodes } from '../exit-codes.ts'
import { needWritable } from '../output-file.ts'
import { note, print } from '../terminal.ts'

const usualMs = 10_000
const leastMs = 1000
const titles: Readonly<Record<ProfileKind, string>> = { cpu: 'work', wall: 'time', heap: 'memory' }
const kinds: readonly ProfileKind[] = ['cpu', 'wall', 'heap']

export const profileCommand: Command = {
  name: 'profile',
  usage: 'PART[/INSTANCE] [APP] [TIME]',
  summary: 'where the time or the memory of a program goes, as a flame graph',
  help: `${lookHelp}
  --cpu        what works (as usual); --wall where time passes, waiting too; --heap what allocates memory
  TIME         how long (10s), as in 5s or 2m; also --seconds N; Ctrl-C ends it sooner and keeps what there is
  --out        name of the files to write, without an ending (profile)
  --json       the names of the files as JSON
  Writes NAME.svg, which any browser shows, and the raw profile for the language's own tools.
  Example: stead profile web 5s`,
  options: {
    ...lookOptions,
    cpu: { type: 'boolean' },
    wall: { type: 'boolean' },
    heap: { type: 'boolean' },
    seconds: { type: 'string' },
    out: { type: 'string' },
  },
  argumentsMax: 3,
  async run(input) {
    const words = lookWords(input, profileCommand, (word) => /^\d/.test(word))
    const durationMs = durationOf(input, words.rest)
    const [kind = 'cpu', ...more] = kinds.filter((word) => input.flag(word))
    if (more.length > 0) throw usage('one of --cpu, --wall and --heap at a time', helpOf(profileCommand))
    const name = input.text('out') ?? 'profile'
    needWritable(`${name}.svg`)
    using _awake = awake()
    await using open = await lookInto(input, profileCommand, abilityOf(kind), { words })
    if (!input.json) note(`profiling for ${formatDuration(durationMs)}`)
    const profile = await open.profile({ kind, durationMs }, untilInterrupted())
    const picture = `${name}.svg`
    const raw = `${name}.${profile.raw.extension}`
    writeFileSync(picture, flameGraph(profile, `${titles[kind]} of ${open.name}`))
    writeFileSync(raw, profile.raw.text)
    print(input.json ? JSON.stringify({ picture, raw }) : `${picture}\n${raw}`)
    return exitCodes.ok
  },
}

function durationOf(input: Input, [text, ...more]: readonly string[]): number {
  const seconds = input.number('seconds', 1, profileMsMax / 1000)
  const ms = text === undefined ? (seconds ?? usualMs / 1000) * 1000 : parseDuration(text)
  if (more.length > 0 || (text !== undefined && seconds !== null))
    throw usage('how long is said twice', helpOf(profileCommand))
  if (ms === null || ms < leastMs || ms > profileMsMax)
    throw usage(
      `'${text}' is no time that can be profiled`,
      `From ${formatDuration(leastMs)} to ${formatDuration(profileMsMax)}, as in stead profile web 5s.`,
    )
  return ms
}
