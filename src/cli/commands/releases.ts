/** `stead releases`: the releases of an app, newest first, with checkpoints and branches; or all of one release. */
import { SteadError } from '../../base/index.ts'
import type { CheckpointStatus, ReleasesStatus, ReleaseState, ReleaseStatus } from '../../operator/index.ts'
import type { DataCopy } from '../../protocol/index.ts'
import type { Command } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { reportLines, stepLines } from '../release-text.ts'
import { needTarget } from '../target.ts'
import { duration, megabytes, paint, print, size, table } from '../terminal.ts'

/** Releases that are shown without --all. */
const shownMax = 15

export const releasesCommand: Command = {
  name: 'releases',
  usage: '[NUMBER]',
  summary: 'what was released when, with checkpoints and branches; or all of one release',
  help: `  NUMBER      everything of that release: its steps, how it ended, what a return left behind
  --app APP   a directory (default: here), or the name of an app that \`stead serve\` runs
  --all       every release that is kept, not only the last ${shownMax}
  --sizes     what each copy of the data holds that no other has: some seconds where there are many
  --json      as JSON
  Example: stead releases 7 --app shop`,
  options: { app: { type: 'string' }, all: { type: 'boolean' }, sizes: { type: 'boolean' } },
  argumentsMax: 1,
  async run(input) {
    const { operator, app } = await needTarget(input.text('app'))
    const found = await operator.releases.list(app)
    const [word = null] = input.arguments
    if (word !== null) {
      const release = found.releases.find(({ number }) => String(number) === word)
      if (release === undefined) throw unknownRelease(found, word)
      if (input.json) print(JSON.stringify(release))
      else for (const line of detailLines(found, release)) print(line)
      return exitCodes.ok
    }
    const data = await operator.releases.data(app, input.flag('sizes')).catch(() => null)
    if (input.json) print(JSON.stringify({ ...found, data }))
    else printAll(found, input.flag('all') ? Number.POSITIVE_INFINITY : shownMax)
    if (!input.json && data !== null) {
      const { totalBytes, freeBytes, driver, copies } = data
      if (input.flag('sizes')) printSizes(copies)
      print(
        `\n${paint('dim', `data: ${megabytes(totalBytes - freeBytes)} of ${megabytes(totalBytes)} used, driver ${driver}`)}`,
      )
    }
    return exitCodes.ok
  },
}

function unknownRelease({ app, releases }: ReleasesStatus, word: string): SteadError {
  const numbers = releases.map(({ number }) => number)
  return new SteadError({
    code: 'cli.unknown-release',
    message: `${app} has no release ${word}`,
    hint: `It has: ${numbers.join(', ')}.`,
  })
}

const colours: Readonly<Record<ReleaseState, Parameters<typeof paint>[0]>> = {
  'rolling-out': 'cyan',
  confirmed: 'green',
  returned: 'green',
  refused: 'yellow',
  'taken-back': 'yellow',
  'handed-over': 'yellow',
  stuck: 'red',
}

function printAll({ app, releases, checkpoints, branches, generation }: ReleasesStatus, max: number): void {
  print(`${paint('bold', app)}${generation === 1 ? '' : paint('dim', `  data of generation ${generation}`)}`)
  const rows = releases
    .toReversed()
    .slice(0, max)
    .map((release) => row(release, checkpoints))
  print(table([['', 'RELEASE', 'STATE', 'WHEN', 'BY', 'DATA BEFORE IT', ''], ...rows]))
  if (releases.length > max) print(paint('dim', `and ${releases.length - max} older: --all`))
  const named = checkpoints.filter(({ before }) => before === null)
  if (named.length > 0) {
    print('\nCheckpoints')
    print(
      table(
        named.map(({ name, release, createdAtMs, by }) => [`  ${name}`, `release ${release}`, ago(createdAtMs), by]),
      ),
    )
  }
  if (branches.length > 0) {
    print('\nBranches')
    print(table(branches.map(({ name, purpose, urls, by }) => [`  ${name}`, purpose, urls.join(' '), by])))
  }
}

function printSizes(copies: readonly DataCopy[]): void {
  if (copies.length === 0) return
  print('\nCopies of the data, and what each holds that no other has')
  const held = ({ ownBytes }: DataCopy): string => (ownBytes === null ? 'not known' : size(ownBytes))
  print(table(copies.map((copy) => [`  ${copy.name}`, copy.kind, held(copy), ago(copy.createdAtMs)])))
}

function row(release: ReleaseStatus, checkpoints: readonly CheckpointStatus[]): string[] {
  const { number, state, live, backTo, createdAtMs, by } = release
  const checkpoint = checkpoints.find(({ before }) => before === number)
  const what = backTo === null ? '' : ` (back to ${backTo})`
  return [
    live ? paint('green', '●') : ' ',
    `${number}${what}`,
    paint(colours[state], state),
    ago(createdAtMs),
    by,
    checkpoint?.name ?? '',
    paint('dim', reasonOf(release)),
  ]
}

function reasonOf({ rollout }: ReleaseStatus): string {
  const outcome = rollout?.outcome ?? null
  return outcome !== null && 'reason' in outcome ? (outcome.reason.split('\n')[0] ?? '') : ''
}

function detailLines({ app, checkpoints }: ReleasesStatus, release: ReleaseStatus): string[] {
  const { number, state, live, by, createdAtMs, generation, secrets, schemas, rollout } = release
  const list = (of: Readonly<Record<string, unknown>>): string =>
    Object.entries(of)
      .map(([name, value]) => `${name} ${String(value)}`)
      .join(', ')
  const checkpoint = checkpoints.find(({ before }) => before === number)
  return [
    `release ${number} of ${app}: ${state}${live ? ', serves' : ''}`,
    `made ${new Date(createdAtMs).toISOString()} by ${by}, on data of generation ${generation}`,
    ...(Object.keys(secrets).length === 0 ? [] : [`secrets: ${list(secrets)}`]),
    ...(Object.keys(schemas).length === 0 ? [] : [`schema: ${list(schemas)}`]),
    ...(checkpoint === undefined ? [] : [`the data of before it: ${checkpoint.name}`]),
    ...(reasonOf(release) === '' ? [] : [`why: ${reasonOf(release)}`]),
    ...(rollout === null ? ['put in place without a rollout'] : ['steps:', ...stepLines(rollout)]),
    ...reportLines(app, release),
  ]
}

function ago(timeMs: number): string {
  return `${duration(Math.max(0, Date.now() - timeMs))} ago`
}
