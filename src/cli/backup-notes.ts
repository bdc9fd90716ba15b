/**
 * What this machine knows of backups without asking the places where they are: the newest one of each app, and what came of the
 * drills. For `status`, and for what may be forgotten.
 *
 * Invariant: notes that are lost or damaged make backups unproved, never proved.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import * as z from 'zod'
import {
  type Backup,
  describeBackups,
  type Drills,
  newestOf,
  noDrills,
  parseDrills,
  type Standing,
} from '../backup/index.ts'
import { backupNotesPath } from './home.ts'

const dayMs = 86_400_000
/** The longest time without a proof that `status` finds in order. */
export const drillEveryMs: number = 7 * dayMs

const newestSchema = z.object({ id: z.string(), atMs: z.number() })
const notesSchema = z.record(
  z.string(),
  z.record(z.string(), z.object({ newest: newestSchema.nullable(), drills: z.unknown() })),
)
type Notes = z.infer<typeof notesSchema>
type Newest = z.infer<typeof newestSchema>

/** What is known of the proofs of an app's backups at a place. */
export function drillsOf(place: string, app: string): Drills {
  return parseDrills(readNotes()[place]?.[app]?.drills ?? noDrills)
}

/** Notes what came of a drill. */
export function noteDrills(place: string, app: string, drills: Drills): void {
  const notes = readNotes()
  write({ ...notes, [place]: { ...notes[place], [app]: { newest: notes[place]?.[app]?.newest ?? null, drills } } })
}

/** Notes what is at a place, as it was just seen. */
export function noteBackups(place: string, all: readonly Backup[]): void {
  const notes = readNotes()
  const apps = new Set([...all.map(({ app }) => app), ...Object.keys(notes[place] ?? {})])
  const own = [...apps].map((app) => {
    const newest = newestOf(all.filter((backup) => backup.app === app))
    const kept = newest === null ? null : { id: newest.id, atMs: newest.atMs }
    return [app, { newest: kept, drills: notes[place]?.[app]?.drills ?? noDrills }] as const
  })
  write({ ...notes, [place]: Object.fromEntries(own) })
}

/** What is known of an app's backups, place by place; none where it was never backed up. `everyMs`: how often they are to be proved. */
export function backupsOf(
  app: string,
  nowMs: number,
  everyMs: number = drillEveryMs,
): readonly (Standing & { place: string; overdue: boolean })[] {
  return Object.entries(readNotes()).flatMap(([place, apps]) => {
    const known = apps[app]
    if (known === undefined) return []
    const newest: readonly Newest[] = known.newest === null ? [] : [known.newest]
    return [{ place, ...describeBackups(newest, parseDrills(known.drills), everyMs, nowMs) }]
  })
}

function write(notes: Notes): void {
  const path = backupNotesPath()
  const fresh = `${path}.${process.pid}`
  writeFileSync(fresh, `${JSON.stringify(notes)}\n`, { flush: true, mode: 0o600 })
  renameSync(fresh, path)
}

function readNotes(): Notes {
  const path = backupNotesPath()
  if (!existsSync(path)) return {}
  try {
    return notesSchema.safeParse(JSON.parse(readFileSync(path, 'utf8'))).data ?? {}
  } catch {
    return {}
  }
}
