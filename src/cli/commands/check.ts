/** `stead check`: what is wrong with a design, before it runs. Reads files, writes only with --fix, and never dials anything. */
import { existsSync, readFileSync, realpathSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { systemClock } from '../../base/index.ts'
import type {
  Advisories,
  Fixed,
  Inventory,
  LevelVersion,
  Outcome,
  Rule,
  Severity,
  SourceFile,
} from '../../check/index.ts'
import type { Command, Input } from '../command.ts'
import { usage } from '../command.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { note, paint, print } from '../terminal.ts'
import { version } from '../version.ts'
import { readTable } from './prices.ts'
import { readVersions } from './versions.ts'

const help = `  PATHS                    files and directories, or - for standard input; without: this directory
  --fix                    mend what can be mended without guessing, and check again
  --diff                   show what --fix would change
  --format text|json|sarif (--json is --format json)
  --only WORD              a rule, a room of rules (pod-security.*), or a root cause (hardening); may be repeated
  --all                    every finding, not the first three of each rule
  --fail-on SEVERITY       low, medium, high or critical: from which on a finding fails the check (high)
  --standard LEVEL[:vN]    what pods are held to where their namespace says nothing (restricted:latest)
  --suppressions FILE      exceptions, each with reason, owner and end (stead-check.yaml, when it is there)
  --baseline FILE          findings that were there before do not count
  --write-baseline FILE    write that file from what is found now
  --advisories FILE        known vulnerabilities, as records of the OSV format (JSON, or an archive)
  --registry HOST          a host that packages may come from (may be repeated)
  --sbom FILE              write what it is made of, as CycloneDX
  --explain RULE           what a rule asks for, why, and an example
  Exit code 0: nothing that counts; 4: findings that count; 1: something could not be read, or nothing was there; 2: wrong command line.
  Never uses the network. Example: helm template shop ./chart | stead check -`

export const checkCommand: Command = {
  name: 'check',
  usage: '[PATHS...]',
  summary: 'what is wrong with a design, before it runs',
  help,
  options: {
    fix: { type: 'boolean' },
    diff: { type: 'boolean' },
    format: { type: 'string' },
    only: { type: 'string', multiple: true },
    all: { type: 'boolean' },
    'fail-on': { type: 'string' },
    standard: { type: 'string' },
    suppressions: { type: 'string' },
    baseline: { type: 'string' },
    'write-baseline': { type: 'string' },
    advisories: { type: 'string' },
    registry: { type: 'string', multiple: true },
    sbom: { type: 'string' },
    explain: { type: 'string' },
  },
  argumentsMax: 10_000,
  run: check,
}

/** Loaded when it is needed: other commands do not pay for it. */
const room = (): Promise<typeof import('../../check/index.ts')> => import('../../check/index.ts')

const suppressionsName = 'stead-check.yaml'

async function check(input: Input): Promise<ExitCode> {
  const { ruleById, rules, explainText, fixFindings, unifiedDiff } = await room()
  const wanted = input.text('explain')
  if (wanted !== null) {
    const rule = ruleById(wanted)
    if (rule === null)
      throw usage(`there is no rule ${wanted}`, `The rules are: ${rules.map(({ id }) => id).join(', ')}.`)
    print(
      input.json
        ? JSON.stringify({
            id: rule.id,
            category: rule.category,
            severity: rule.severity,
            title: rule.title,
            reason: rule.reason,
            reference: rule.reference,
            bad: rule.bad,
            good: rule.good,
          })
        : explainText(rule, paint),
    )
    return exitCodes.ok
  }
  const format = formatOf(input)
  const paths = input.arguments.length === 0 ? ['.'] : input.arguments
  const outcome = await look(paths, input)
  if (input.flag('diff')) {
    const { files } = fixFindings(outcome.open)
    process.stdout.write(files.map(({ source, text }) => unifiedDiff(source.path, source.text, text)).join(''))
    return codeOf(outcome)
  }
  if (!input.flag('fix')) return report(outcome, format, input)
  const { files } = fixFindings(outcome.open)
  const skipped = files.filter((fixed) => !write(fixed)).map(({ source }) => source.path)
  const mended = files.filter(({ source }) => !skipped.includes(source.path))
  for (const { source, mended: findings } of mended)
    note(`${paint('green', 'mended', process.stderr)} ${source.path}  ${findings.length} findings`)
  for (const path of skipped)
    note(
      `${paint('yellow', 'not written', process.stderr)} ${path}: it changed meanwhile, comes from standard input, or is not plain UTF-8`,
    )
  return report(mended.length === 0 ? outcome : await look(paths, input), format, input)
}

async function look(paths: readonly string[], input: Input): Promise<Outcome> {
  const { checkInventory, complexityOf, estimate, outcomeOf, readBaseline, readSuppressions, uptimeOf, writeBaseline } =
    await room()
  const { readInputs } = await import('../checking/check-files.ts')
  const nowMs = systemClock.nowMs()
  const { inventory, files } = await readInputs(paths)
  const registries = input.texts('registry')
  const versionsFile = await readVersions()
  const advisories = input.text('advisories')
  const chosen = await chosenRules(input)
  const found = checkInventory(
    inventory,
    {
      standard: await standardOf(input),
      nowMs,
      ...(advisories === null ? {} : { advisories: await readBundle(advisories) }),
      ...(versionsFile === null ? {} : { versions: versionsFile }),
      ...(registries.length === 0 ? {} : { registries }),
    },
    chosen,
  )
  const sbom = input.text('sbom')
  if (sbom !== null) await writeSbom(sbom, inventory)
  const suppressions = fileOf(input.text('suppressions'), suppressionsName)
  const baseline = input.text('baseline')
  const outcome = outcomeOf(found, {
    suppressions: suppressions === null ? [] : readSuppressions(suppressions, nowMs),
    baseline: baseline === null ? new Set() : readBaseline(read(baseline)),
    failOn: await failOnOf(input),
    nowMs,
    files,
    notes: [],
    uptime: inventory.workloads.length === 0 ? null : uptimeOf(inventory, { brief: true }),
    cost: inventory.resources.length === 0 ? null : estimate(inventory, await readTable()),
    complexity: inventory.workloads.length === 0 ? null : complexityOf(inventory),
  })
  const target = input.text('write-baseline')
  if (target !== null) writeFileSync(target, writeBaseline([...outcome.open, ...outcome.known]))
  return outcome
}

async function chosenRules(input: Input): Promise<readonly Rule[]> {
  const { causes, chooseRules, rules } = await room()
  const words = input.texts('only')
  for (const word of words)
    if (chooseRules(word).length === 0)
      throw usage(`--only ${word} means no rule`, `Root causes are: ${Object.keys(causes).join(', ')}.`)
  const chosen = new Set(words.flatMap((word) => chooseRules(word)))
  return chosen.size === 0 ? rules : rules.filter((rule) => chosen.has(rule))
}

async function readBundle(path: string): Promise<Advisories> {
  const { readAdvisories } = await room()
  if (!existsSync(path)) throw usage(`there is no file ${path}`, 'See `stead check --help`.')
  return readAdvisories(path, readFileSync(path))
}

async function writeSbom(path: string, inventory: Inventory): Promise<void> {
  const { sbomOf } = await room()
  writeFileSync(path, `${JSON.stringify(sbomOf(inventory, basename(process.cwd()), version), null, 2)}\n`)
}

function read(path: string): SourceFile {
  if (!existsSync(path)) throw usage(`there is no file ${path}`, 'See `stead check --help`.')
  return { path, text: readFileSync(path, 'utf8') }
}

/** A file that was named, or the usual one when it is there. */
function fileOf(named: string | null, usual: string): SourceFile | null {
  if (named !== null) return read(named)
  return existsSync(usual) ? read(usual) : null
}

/** Writes a mended file in one step. False when it is not what was read, so that nobody's change is lost. */
function write({ source, text }: Fixed): boolean {
  if (source.path === '-') return false
  const path = realpathSync(source.path)
  if (!readFileSync(path).equals(Buffer.from(source.text))) return false
  const draft = join(path, '..', `.stead-check-${process.pid}`)
  writeFileSync(draft, text, { mode: statSync(path).mode })
  renameSync(draft, path)
  return true
}

async function report(outcome: Outcome, format: Format, input: Input): Promise<ExitCode> {
  const { reportJson, reportSarif, reportText } = await room()
  if (format === 'json') print(JSON.stringify(reportJson(outcome)))
  else if (format === 'sarif') print(JSON.stringify(reportSarif(outcome, version), null, 2))
  else print(reportText(outcome, { all: input.flag('all') || input.flag('fix'), paint }))
  return codeOf(outcome)
}

async function codeOf(outcome: Outcome): Promise<ExitCode> {
  const { verdictOf } = await room()
  const verdict = verdictOf(outcome)
  return verdict === 'failed' ? exitCodes.degraded : verdict === 'unread' ? exitCodes.failed : exitCodes.ok
}

type Format = 'text' | 'json' | 'sarif'

function formatOf(input: Input): Format {
  const format = input.text('format') ?? (input.json ? 'json' : 'text')
  if (format === 'text' || format === 'json' || format === 'sarif') return format
  throw usage(`--format must be text, json or sarif, not '${format}'`, 'For example: --format sarif')
}

async function failOnOf(input: Input): Promise<Severity> {
  const { severities } = await room()
  const text = input.text('fail-on') ?? 'high'
  const severity = severities.find((candidate) => candidate === text)
  if (severity === undefined)
    throw usage(`--fail-on must be one of ${severities.join(', ')}, not '${text}'`, 'For example: --fail-on medium')
  return severity
}

async function standardOf(input: Input): Promise<LevelVersion> {
  const { mostStrict, parseLevel, parseVersion } = await room()
  const text = input.text('standard')
  if (text === null) return mostStrict
  const [name = '', pinned = 'latest'] = text.split(':')
  const level = parseLevel(name)
  const minor = parseVersion(pinned)
  if (level === null || minor === null)
    throw usage(`--standard must be a level and a version, not '${text}'`, 'For example: --standard baseline:v1.34')
  return { level, version: minor }
}
