/** `stead versions`: which images and packages have newer versions, how old they are, how far behind; `fetch` asks registries. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { systemClock } from '../../base/index.ts'
import type { VersionRow, VersionsFile } from '../../check/index.ts'
import type { Command, Input } from '../command.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { note, paint, print, table } from '../terminal.ts'

const versionsName = 'stead-versions.json'

export const versionsCommand: Command = {
  name: 'versions',
  usage: '[fetch] [PATHS...]',
  summary: 'which images and packages have newer versions',
  help: `  stead versions [PATHS]        what is used, from what ${versionsName} knows; asks nobody
  stead versions fetch [PATHS]  ask the registries of what is used, and keep the answers in ${versionsName}
  --file FILE                   another file than ${versionsName}
  --npm-registry URL            where packages are asked for (https://registry.npmjs.org)
  --all                         also what is current or unknown
  \`stead check\` reads the same file. Exit code of fetch 4: some registry did not answer.
  Example: stead versions fetch . && stead versions`,
  options: { file: { type: 'string' }, 'npm-registry': { type: 'string' }, all: { type: 'boolean' } },
  argumentsMax: 10_000,
  run: versions,
}

/** The file as it is, or an empty one. */
export async function readVersions(path: string = versionsName): Promise<VersionsFile | null> {
  const { readVersionsFile } = await import('../../check/index.ts')
  return existsSync(path) ? readVersionsFile({ path, text: readFileSync(path, 'utf8') }) : null
}

async function versions(input: Input): Promise<ExitCode> {
  const fetching = input.arguments[0] === 'fetch'
  const paths = fetching ? input.arguments.slice(1) : input.arguments
  const { noVersions, usedVersions, versionRows } = await import('../../check/index.ts')
  const { readInputs } = await import('../checking/check-files.ts')
  const { inventory } = await readInputs(paths.length === 0 ? ['.'] : paths)
  const used = usedVersions(inventory)
  const path = input.text('file') ?? versionsName
  const file = (await readVersions(path)) ?? noVersions
  if (fetching) return ask(input, path, file, used)
  const rows = versionRows(used, file)
  if (input.json) print(JSON.stringify(rows))
  else show(rows, input.flag('all'))
  return exitCodes.ok
}

async function ask(
  input: Input,
  path: string,
  before: VersionsFile,
  used: Parameters<typeof import('../checking/ask-registries.ts').askRegistries>[0],
): Promise<ExitCode> {
  const { writeVersionsFile } = await import('../../check/index.ts')
  const { askRegistries } = await import('../checking/ask-registries.ts')
  const failures: { readonly key: string; readonly why: string }[] = []
  const after = await askRegistries(used, before, {
    npmRegistry: input.text('npm-registry') ?? 'https://registry.npmjs.org',
    clock: systemClock,
    onFailure: (key, why) => failures.push({ key, why }),
  })
  writeFileSync(path, writeVersionsFile(after))
  const asked = new Set(used.map(({ key }) => key)).size
  if (input.json) print(JSON.stringify({ asked, answered: asked - failures.length, failures, file: path }))
  else {
    for (const { key, why } of failures) note(`${paint('yellow', 'no answer', process.stderr)} ${key}: ${why}`)
    print(`${asked - failures.length} of ${asked} answered; the answers are in ${path}.`)
  }
  return failures.length === 0 ? exitCodes.ok : exitCodes.degraded
}

const dayMs = 86_400_000

function show(rows: readonly VersionRow[], all: boolean): void {
  const nowMs = systemClock.nowMs()
  const shown = rows.filter(({ behind }) => all || (behind !== 'current' && behind !== 'unknown'))
  const days = (ms: number | null): string =>
    ms === null ? 'age unknown' : `${Math.floor((nowMs - ms) / dayMs)} days old`
  if (shown.length > 0) {
    const lines = shown.map((row) => [
      row.kind,
      paint('bold', row.name),
      row.version,
      row.newest === null ? 'newest unknown' : `-> ${row.newest}`,
      row.behind === 'unknown'
        ? 'unknown'
        : row.behind === 'current'
          ? 'current'
          : `${row.behind}, ${row.releases ?? 0} releases behind`,
      `${days(row.publishedMs)}${row.supportedUntil === null ? '' : `, mended until ${row.supportedUntil}`}`,
    ])
    print(table(lines))
  }
  const count = (behind: VersionRow['behind']): number => rows.filter((row) => row.behind === behind).length
  const asked = rows.map(({ askedMs }) => askedMs).filter((ms) => ms !== null)
  const oldest = asked.length === 0 ? null : Math.min(...asked)
  print(
    `${rows.length} versions: ${count('major')} a major behind, ${count('minor')} minor, ${count('patch')} patch, ${count('current')} current, ${count('unknown')} unknown`,
  )
  print(
    paint(
      'dim',
      oldest === null
        ? 'No registry was asked yet: stead versions fetch'
        : `The oldest answer is ${Math.floor((nowMs - oldest) / dayMs)} days old: stead versions fetch`,
    ),
  )
}
