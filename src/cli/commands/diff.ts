/** `stead diff`: what differs between two releases. */
import { SteadError } from '../../base/index.ts'
import { describeDiff, diffGraphs } from '../../model/index.ts'
import type { ReleasesStatus, ReleaseStatus } from '../../operator/index.ts'
import { type Command, usage } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { needTarget } from '../target.ts'
import { print } from '../terminal.ts'

export const diffCommand: Command = {
  name: 'diff',
  usage: 'A B',
  summary: 'what differs between two releases: the graph, code, secrets, schema',
  help: `  --app APP   a directory (default: here), or the name of an app that \`stead serve\` runs
  --json      as JSON
  Example: stead diff 6 7`,
  options: { app: { type: 'string' } },
  argumentsMax: 2,
  async run(input) {
    const [a, b] = input.arguments
    if (a === undefined || b === undefined) throw usage('stead diff needs two releases', 'As in `stead diff 6 7`.')
    const { operator, app } = await needTarget(input.text('app'))
    const found = await operator.releases.list(app)
    const [before, after] = [releaseIn(found, a), releaseIn(found, b)]
    const lines = difference(before, after)
    if (input.json) print(JSON.stringify({ app, before: before.number, after: after.number, lines }))
    else for (const line of lines.length === 0 ? ['Nothing differs.'] : lines) print(line)
    return exitCodes.ok
  },
}

function releaseIn({ app, releases }: ReleasesStatus, word: string): ReleaseStatus {
  const found = releases.find(({ number }) => String(number) === word)
  if (found !== undefined) return found
  throw new SteadError({
    code: 'cli.unknown-release',
    message: `${app} has no release ${word}`,
    hint: `It has: ${releases.map(({ number }) => number).join(', ')}.`,
  })
}

function difference(before: ReleaseStatus, after: ReleaseStatus): string[] {
  const values = (
    what: string,
    of: (release: ReleaseStatus) => Readonly<Record<string, number | string | null>>,
  ): string[] => {
    const [old, young] = [of(before), of(after)]
    return Object.keys({ ...old, ...young })
      .filter((name) => String(old[name] ?? '') !== String(young[name] ?? ''))
      .map((name) => `~ ${name}: ${what} ${String(old[name] ?? 'none')} -> ${String(young[name] ?? 'none')}`)
  }
  const code = Object.keys(after.bundles)
    .filter((part) => before.bundles[part] !== undefined && before.bundles[part] !== after.bundles[part])
    .map((part) => `~ ${part}: ${isResource(after, part) ? 'files' : 'code'} changed`)
  return [
    ...describeDiff(diffGraphs(before.graph, after.graph)),
    ...code,
    ...values('secret version', ({ secrets }) => secrets),
    ...values('schema', ({ schemas }) => schemas),
  ]
}

function isResource({ graph }: ReleaseStatus, name: string): boolean {
  return graph.parts.some((part) => part.kind === 'resource' && part.name === name)
}
