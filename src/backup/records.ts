/**
 * Backups as the tool's snapshots. A backup is two of them: the data, and after it the record, which holds what travels
 * with the data and says, in its tags, of what it all is.
 *
 * Invariant: the record is the commit point. Data without a record is not a backup, whatever it holds: it was left half made.
 */
import * as z from 'zod'
import { SteadError } from '../base/index.ts'
import type { Backup, BackupOf, CarriedLog, LogOf } from './backups.ts'

const format = 1

/** A snapshot as the tool lists it. Times are milliseconds since 1970. */
export interface Snapshot {
  readonly id: string
  readonly timeMs: number
  readonly tags: readonly string[]
}

/** A backup with the snapshots that it consists of. */
export interface Stored {
  readonly backup: Backup
  readonly dataId: string
  readonly recordId: string
  /** When the youngest of its files was changed, as its disk says. */
  readonly changedMs: number
}

const snapshotsSchema = z
  .array(z.object({ id: z.string(), time: z.string(), tags: z.array(z.string()).nullish() }))
  .nullable()

/** Reads the tool's list. Null for what is none. */
export function parseSnapshots(text: string): readonly Snapshot[] | null {
  const parsed = snapshotsSchema.safeParse(parseJson(text))
  if (!parsed.success) return null
  return (parsed.data ?? []).map(({ id, time, tags }) => ({ id, timeMs: Date.parse(time), tags: tags ?? [] }))
}

/** Throws `backup.bad-name` for what cannot be written down. */
export function ensureNames(of: Pick<BackupOf, 'app' | 'name' | 'checkpoint'>): void {
  const bad = [of.app, of.name, of.checkpoint].find((name) => !/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(name))
  if (bad === undefined) return
  throw new SteadError({
    code: 'backup.bad-name',
    message: `${JSON.stringify(bad)} cannot name a backup, its app or its checkpoint.`,
    hint: 'Use letters, digits, dots, dashes and underscores, beginning with a letter or digit, 100 at most.',
  })
}

/** Tags of the data of a backup. */
export function dataTags(id: string, app: string): readonly string[] {
  return [`stead=${format}`, 'kind=data', `of=${id}`, `app=${app}`]
}

/** Tags of the record of a backup. */
export function recordTags(backup: Backup, changedMs: number): readonly string[] {
  const { id, app, name, checkpoint, generation, release, atMs, files, bytes, addedBytes, extra, code } = backup
  const values = { name, checkpoint, generation, release: release ?? 'none', at: atMs, files, bytes, added: addedBytes }
  return [
    `stead=${format}`,
    'kind=record',
    `of=${id}`,
    `app=${app}`,
    ...Object.entries(values).map(([key, value]) => `${key}=${value}`),
    `extra=${extra ? 'yes' : 'no'}`,
    ...(code === null ? [] : [`code=${code}`]),
    `changed=${changedMs}`,
  ]
}

const count = z.coerce.number().int().nonnegative()
const recordSchema = z.object({
  of: z.string().min(1),
  app: z.string().min(1),
  name: z.string().min(1),
  checkpoint: z.string().min(1),
  generation: count,
  release: z.union([z.literal('none'), count]),
  at: z.coerce.number(),
  files: count,
  bytes: count,
  added: count,
  extra: z.enum(['yes', 'no']),
  code: z.string().min(1).nullable().default(null),
  changed: z.coerce.number(),
})

/**
 * The backups among the snapshots, oldest first. Snapshots of others are passed over. Throws `backup.newer-version` when one
 * was written by a program that knows more.
 */
export function storedOf(snapshots: readonly Snapshot[], place: string): readonly Stored[] {
  const tagged = snapshots.map((snapshot) => ({ snapshot, tags: tagsOf(snapshot) }))
  const newer = tagged.find(({ tags }) => Number(tags.get('stead')) > format)
  if (newer !== undefined) {
    throw new SteadError({
      code: 'backup.newer-version',
      message: `${place} holds backups of format ${newer.tags.get('stead') ?? ''}, and this program knows formats up to ${format}.`,
      hint: 'Use the program that wrote them, or a newer one.',
    })
  }
  const kindOf = (kind: string) => tagged.filter(({ tags }) => tags.has('stead') && tags.get('kind') === kind)
  const data = new Map(kindOf('data').map(({ snapshot, tags }) => [tags.get('of') ?? '', snapshot.id]))
  return kindOf('record')
    .flatMap(({ snapshot, tags }) => {
      const read = recordSchema.safeParse(Object.fromEntries(tags))
      const dataId = data.get(tags.get('of') ?? '')
      if (!read.success || dataId === undefined) return []
      const { of: id, app, name, checkpoint, generation, files, bytes } = read.data
      const { release, at: atMs, added: addedBytes, extra, code, changed: changedMs } = read.data
      const backup: Backup = {
        id,
        app,
        name,
        checkpoint,
        generation,
        release: release === 'none' ? null : release,
        atMs,
        files,
        bytes,
        addedBytes,
        extra: extra === 'yes',
        code,
      }
      return [{ backup, dataId, recordId: snapshot.id, changedMs }]
    })
    .toSorted((a, b) => a.backup.atMs - b.backup.atMs || (a.backup.id < b.backup.id ? -1 : 1))
}

/**
 * Snapshots of backups that were never finished: one half without the other, older than a backup can take. A younger one
 * may be about to get its record.
 */
export function leftOver(snapshots: readonly Snapshot[], nowMs: number, ageMsMin: number): readonly string[] {
  const halves = snapshots
    .map((snapshot) => ({ snapshot, tags: tagsOf(snapshot) }))
    .filter(({ tags }) => tags.has('stead') && ['data', 'record'].includes(tags.get('kind') ?? ''))
  const kinds = new Map<string, Set<string>>()
  for (const { tags } of halves) {
    const id = tags.get('of') ?? ''
    kinds.set(id, (kinds.get(id) ?? new Set()).add(tags.get('kind') ?? ''))
  }
  return halves
    .filter(({ tags }) => kinds.get(tags.get('of') ?? '')?.size !== 2)
    .filter(({ snapshot }) => snapshot.timeMs < nowMs - ageMsMin)
    .map(({ snapshot }) => snapshot.id)
}

/** Tags of the code of backups. */
export function codeTags(id: string): readonly string[] {
  return [`stead=${format}`, 'kind=code', `of=${id}`]
}

/** The code among the snapshots, by its id; the newest where there are several. */
export function codesOf(snapshots: readonly Snapshot[]): ReadonlyMap<string, Snapshot> {
  const all = snapshots
    .map((snapshot) => ({ snapshot, tags: tagsOf(snapshot) }))
    .filter(({ tags }) => tags.has('stead') && tags.get('kind') === 'code')
  return new Map(all.map(({ snapshot, tags }) => [tags.get('of') ?? '', snapshot]))
}

/** Tags of a log that was carried. */
export function logTags({ app, part, after, position, atMs }: LogOf): readonly string[] {
  return [`stead=${format}`, 'kind=log', `app=${app}`, `part=${part}`, `after=${after}`, `to=${position}`, `at=${atMs}`]
}

const logSchema = z.object({
  app: z.string().min(1),
  part: z.string().min(1),
  after: z.string().min(1),
  to: z.string(),
  at: z.coerce.number(),
})

/** The logs among the snapshots: `newest` of each part after each backup, and the ids of the `older` ones, which are of no use. */
export function logsOf(snapshots: readonly Snapshot[]): {
  readonly newest: readonly CarriedLog[]
  readonly older: readonly string[]
} {
  const all = snapshots.flatMap((snapshot) => {
    const tags = tagsOf(snapshot)
    const read = tags.has('stead') && tags.get('kind') === 'log' ? logSchema.safeParse(Object.fromEntries(tags)) : null
    if (read?.data === undefined) return []
    const { to: position, at: atMs, ...of } = read.data
    return [{ ...of, position, atMs, id: snapshot.id }]
  })
  const newest = [...Map.groupBy(all, ({ app, part, after }) => `${app}/${part}/${after}`).values()].flatMap((same) =>
    same.toSorted((a, b) => b.atMs - a.atMs).slice(0, 1),
  )
  return { newest, older: all.filter((log) => !newest.includes(log)).map(({ id }) => id) }
}

/** Clocks of disks tick in steps; two changes within one step show the same time. The longest step in use is 10 ms. */
const tickMs = 20
/** How far the time that a caller gives may be from the moment of the checkpoint itself. */
const momentMs = 2000

/**
 * From what time on a file of the next tree may look unchanged since an earlier backup and not be: it was written to both
 * before and after the checkpoint within one tick of the disk's clock. Null: there is no such time. Whoever finds a file that
 * was last changed between this time and `changedMs` has to read every file again.
 */
export function doubtfulFromMs({ backup, changedMs }: Stored): number | null {
  return changedMs < backup.atMs - momentMs ? null : changedMs - tickMs
}

function tagsOf(snapshot: Snapshot): ReadonlyMap<string, string> {
  return new Map(
    snapshot.tags.map((tag) => {
      const at = tag.indexOf('=')
      return at < 0 ? [tag, ''] : [tag.slice(0, at), tag.slice(at + 1)]
    }),
  )
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
