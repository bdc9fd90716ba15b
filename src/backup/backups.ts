/**
 * The interface of backups: copies of a directory tree (a checkpoint of an app's data) in another place, encrypted and
 * incremental.
 *
 * Invariants, checked by the conformance suite on every kind of target:
 * - A backup is there whole or not at all: it is listed only once all of it, and what travels with it, is at the target.
 *   Whatever dies in the middle, the next backup goes on, and is not larger for it than it must be.
 * - What is restored is what was backed up, byte for byte, or there is an error and the directory is empty.
 * - Nobody without the key reads any of it, names of files included; what is not secret stands in `target.ts`.
 */

/** What a backup is of. Names are of letters, digits, dots, dashes and underscores, 100 at most. */
export interface BackupOf {
  readonly app: string
  /** For a person; need not be unique. */
  readonly name: string
  /** The checkpoint that it was made from. */
  readonly checkpoint: string
  /** Generation of the data. */
  readonly generation: number
  /** Number of the release whose data it is; null where there was none. */
  readonly release: number | null
  /** The moment that it shows, milliseconds since 1970. */
  readonly atMs: number
}

export interface Backup extends BackupOf {
  readonly id: string
  readonly files: number
  readonly bytes: number
  /** What it took at the target, before compression: what no backup before it had. */
  readonly addedBytes: number
  /** Whether something travels with it: what an empty machine needs to bring the app back. */
  readonly extra: boolean
  /** The code that runs on it, by its id, which many backups share; null: it is not there. */
  readonly code: string | null
}

export interface BackUpOptions {
  /** A directory whose contents travel with the data: graph, bundles, the record of the release, sealed secrets. */
  readonly extra?: string
  /** The code that runs on it: its id, and what lays it out in a directory, which is only asked where the target has none of that id. */
  readonly code?: { readonly id: string; readonly layOut: (dir: string) => Promise<void> }
  /** Called a few times a second. */
  readonly onProgress?: (progress: Progress) => void
  /** Ends it; nothing of it is listed then. */
  readonly signal?: AbortSignal
}

export interface Progress {
  readonly doneBytes: number
  /** Grows while it is still being counted. */
  readonly totalBytes: number
}

export interface RestoreOptions {
  /** Where what travels with the data goes; an empty directory like that of the data. */
  readonly extraTo?: string
  readonly signal?: AbortSignal | undefined
  /** What is in the directories is deleted first. Otherwise a directory that is not empty is refused. */
  readonly replace?: boolean
  /** Reads every byte from the target, even those that are kept here to be quick. For drills. */
  readonly fresh?: boolean
}

/** The log of one part, carried to the target since a backup. */
export interface LogOf {
  readonly app: string
  readonly part: string
  /** The backup that it goes on from, by its id. */
  readonly after: string
  /** Up to where, in the resource's own words. */
  readonly position: string
  /** Up to when, milliseconds since 1970. */
  readonly atMs: number
}

export interface CarriedLog extends LogOf {
  readonly id: string
}

/** What is wrong at the target, a line each as the tool has it; none: all is well. */
export interface Verified {
  readonly problems: readonly string[]
}

export interface Backups {
  /** The target in words, without a secret. */
  readonly place: string
  /** Prepares the target. One that is prepared already, by the same key, is left as it is. Throws `backup.wrong-key`. */
  init(): Promise<'made' | 'there'>
  /**
   * Backs up a tree that nobody changes meanwhile. Throws `backup.no-repository` where the target is not prepared,
   * `backup.unreadable` when part of the tree could not be read, `backup.target-full`, `backup.target-gone`.
   */
  backUp(tree: string, of: BackupOf, options?: BackUpOptions): Promise<Backup>
  /** All of them, oldest first. */
  list(): Promise<readonly Backup[]>
  /**
   * Restores into an empty directory, or one that does not exist, and compares what it has written with the backup. Only a
   * restore by root gives files back to their owners. Throws `backup.unknown-backup`, `backup.not-empty`, `backup.no-room`,
   * `backup.damaged`.
   */
  restore(id: string, dir: string, options?: RestoreOptions): Promise<void>
  /** Restores what travels with a backup, as `restore` does, and nothing else. */
  restoreExtra(id: string, dir: string): Promise<void>
  /** Restores the code of a backup, as `restore` does. Throws `backup.unknown-backup` where it has none. */
  restoreCode(id: string, dir: string): Promise<void>
  /** 32 bytes that only who has the key can know, others for each purpose. */
  derive(purpose: string): Promise<Uint8Array>
  /**
   * Carries a log, as a directory whose files never change once they are there (what is below `open` may). The same errors as
   * `backUp`. It takes the place of what was carried after the same backup before.
   */
  carryLog(dir: string, of: LogOf, signal?: AbortSignal): Promise<void>
  /** The newest log of each part after each backup. */
  logs(): Promise<readonly CarriedLog[]>
  /** Restores a log, as `restore` does. Throws `backup.unknown-backup`. */
  restoreLog(id: string, dir: string, signal?: AbortSignal): Promise<void>
  /**
   * Whether the target holds what it must. structure: that everything is there and fits together. data: every byte is read and
   * compared with its digest.
   */
  verify(depth: 'structure' | 'data', signal?: AbortSignal): Promise<Verified>
  /** Deletes backups and gives back their space, and that of what was left half made. Ids that are not there are passed over. */
  forget(ids: readonly string[]): Promise<void>
}
