/**
 * Backups as an app declares them: where to, how often, how long they are kept, and how often they are proved.
 *
 * Invariant: no secret stands in the graph: the key of the backups and the keys of a server are secrets, by name.
 */
import { SteadError } from '../base/index.ts'
import { badOption, checkNumber, checkOptions, isRecord, readDuration } from './check.ts'
import type { BackupPlan, Graph } from './graph.ts'
import { backupPlacePattern } from './patterns.ts'
import type { Duration } from './units.ts'
import { describePart, isResource } from './values.ts'
import type { BackupOptions, Resource } from './values.ts'

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const probeCharsMax = 10_000

/** Reads what an app says of its backups; the secrets that it names are parts of the app. Throws `model.bad-option`. */
export function readBackup(
  owner: string,
  options: BackupOptions,
): { readonly plan: BackupPlan; readonly secrets: readonly Resource[] } {
  checkOptions(owner, options, ['to', 'every', 'log', 'keep', 'drill', 'key', 'credentials', 'region'], 'backup')
  const { to, keep = {}, drill = {}, region = null } = options
  if (typeof to !== 'string' || !backupPlacePattern.test(to)) {
    const hint = "A directory of another disk, '/mnt/disk/backups', or 's3:https://HOST/BUCKET'; keys are secrets."
    throw badOption(owner, 'backup.to', 'a place without keys in it', to, hint)
  }
  checkOptions(owner, keep, ['count', 'within'], 'backup.keep')
  checkOptions(owner, drill, ['every', 'probe'], 'backup.drill')
  const { count = 14 } = keep
  checkNumber(owner, 'backup.keep.count', count, { min: 1, max: 10_000, whole: true, hint: 'The newest so many stay.' })
  if (region !== null && (typeof region !== 'string' || !/^[a-z0-9-]{1,40}$/.test(region)))
    throw badOption(owner, 'backup.region', 'the name of a region', region, 'As the S3 server has it.')
  const [key, credentials] = [secretOf(owner, 'key', options.key), secretOf(owner, 'credentials', options.credentials)]
  const span = (option: string, value: Duration | undefined, usual: number, min: number): number =>
    value === undefined ? usual : readDuration(owner, `backup.${option}`, value, min, 366 * dayMs)
  const plan: BackupPlan = {
    to,
    everyMs: span('every', options.every, dayMs, 600_000),
    logMs: span('log', options.log, 300_000, 10_000),
    keep: { count, withinMs: span('keep.within', keep.within, 0, hourMs) },
    drill: { everyMs: span('drill.every', drill.every, 7 * dayMs, hourMs), probes: readProbes(owner, drill.probe) },
    key: key?.name ?? null,
    credentials: credentials?.name ?? null,
    region,
  }
  return { plan, secrets: [key, credentials].filter((secret) => secret !== null) }
}

function secretOf(owner: string, option: string, value: unknown): Resource | null {
  if (value === undefined) return null
  if (isResource(value) && value.type === 'secret') return value
  const hint = "As in secret('backup-key', { from: 'operator' })."
  throw badOption(owner, `backup.${option}`, 'a secret', value, hint)
}

function readProbes(owner: string, probes: unknown = {}): Readonly<Record<string, string>> {
  const hint = "By part, as in { db: 'select count(*) > 0 from orders' }."
  if (!isRecord(probes)) throw badOption(owner, 'backup.drill.probe', 'a plain object', probes, hint)
  return Object.fromEntries(
    Object.entries(probes)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([part, probe]) => {
        if (typeof probe === 'string' && probe !== '' && probe.length <= probeCharsMax) return [part, probe]
        throw badOption(owner, `backup.drill.probe.${part}`, 'a question', probe, hint)
      }),
  )
}

/** Refuses backups that name what the graph does not have. Throws `model.bad-backup`. */
export function checkBackup({ app, backup, parts }: Graph): void {
  if (backup === undefined) return
  const need = (name: string, what: string, fits: (type: string) => boolean, wanted: string): void => {
    const part = parts.find((other) => other.name === name)
    if (part?.kind === 'resource' && fits(part.type)) return
    throw new SteadError({
      code: 'model.bad-backup',
      message: `app '${app}': ${what} names '${name}', which is ${part === undefined ? 'no part' : describePart(part)}.`,
      hint: `It has to be ${wanted} of the app.`,
    })
  }
  const { key, credentials, drill } = backup
  if (key !== null) need(key, 'backup.key', (type) => type === 'secret', 'a secret')
  if (credentials !== null) need(credentials, 'backup.credentials', (type) => type === 'secret', 'a secret')
  for (const part of Object.keys(drill.probes)) need(part, 'backup.drill.probe', () => true, 'a resource')
}
