/**
 * Makes docs/queue-matrix.md of what a run has shown: for each driver and server version, how every case of the suite was passed,
 * and the table of capabilities that the driver gives. Runs the suites of the drivers that can run here; where a server is
 * missing, what the last run on another machine has shown stays, with the version it was shown with. Takes a few minutes; with
 * names of drivers, only theirs run.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { capabilityNames, promises } from '../src/queue/index.ts'
import type { Capabilities } from '../src/queue/index.ts'

interface Shown {
  readonly name: string
  readonly server: string
  readonly capabilities: Capabilities
  readonly matrix: Readonly<Record<string, string>>
}

const page = join(import.meta.dirname, '../docs/queue-matrix.md')
const folder = mkdtempSync(join(tmpdir(), 'stead-matrix-'))

function runSuites(): void {
  // The long suite of a driver where it has one: it has what the other leaves out.
  const all = readdirSync(join(import.meta.dirname, '../src/queue/drivers'))
  const wanted = process.argv.slice(2)
  const files = [
    'memory.test.ts',
    ...all.filter((file) => file.endsWith('.long.test.ts') && !file.includes('-faults.')),
  ]
    .filter(
      (file) =>
        wanted.length === 0 || wanted.some((name) => file.startsWith(`${name}.`) || file.startsWith(`${name}-`)),
    )
    .map((file) => `queue/drivers/${file}`)
  const env = { ...process.env, STEAD_QUEUE_MATRIX: folder }
  const result = spawnSync(process.execPath, ['scripts/test.ts', ...files], { stdio: 'inherit', env })
  if (result.status !== 0) throw new Error('a suite failed: the page is not made')
}

/** What the page said before, so that a server that is not here keeps its column. */
function shownBefore(): readonly Shown[] {
  try {
    const data = /<!-- data: (.*) -->/.exec(readFileSync(page, 'utf8'))?.[1]
    const shown: readonly Shown[] = data === undefined ? [] : JSON.parse(data)
    return shown
  } catch {
    return []
  }
}

function pageOf(all: readonly Shown[]): string {
  const cases = [...new Set(all.flatMap(({ matrix }) => Object.keys(matrix)))]
  const heads = all.map(({ name, server }) => `${name}<br>${server}`)
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const rule = line(['---', ...all.map(() => '---')])
  const said = ({ capabilities }: Shown, name: (typeof capabilityNames)[number]): string => {
    const support = capabilities[name]
    if (support.kind === 'native') return 'native'
    return support.kind === 'emulated' ? `emulated: ${support.guarantee}` : `**refused**: ${support.reason}`
  }
  return [
    '# What each driver of queues can do',
    '',
    'Made by `scripts/queue-matrix.ts` from a run of the suite against the servers named here; not written by hand.',
    '',
    '## Capabilities',
    '',
    line(['', ...heads]),
    rule,
    ...capabilityNames.map((name) =>
      line([`**${name}**: ${promises[name]}`, ...all.map((shown) => said(shown, name))]),
    ),
    '',
    '## Cases',
    '',
    'native: passed by what the driver and its server do themselves. emulated: passed under a guarantee of the table above. refused:',
    'asking for it is an error when the queue is declared, and that was asserted. left out: the driver has no server or no other',
    'process to try it with. –: not in this run.',
    '',
    line(['case', ...all.map(({ name }) => name)]),
    rule,
    ...cases.map((name) => line([name, ...all.map(({ matrix }) => matrix[name] ?? '–')])),
    '',
    `<!-- data: ${JSON.stringify(all)} -->`,
    '',
  ].join('\n')
}

try {
  runSuites()
  const now = readdirSync(folder).map((file): Shown => JSON.parse(readFileSync(join(folder, file), 'utf8')))
  const before = shownBefore().filter(({ name }) => !now.some((shown) => shown.name === name))
  const all = [...now, ...before].sort((a, b) => (a.name < b.name ? -1 : 1))
  writeFileSync(page, pageOf(all))
  process.stdout.write(`${page}: ${all.map(({ name, server }) => `${name} (${server})`).join(', ')}\n`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
