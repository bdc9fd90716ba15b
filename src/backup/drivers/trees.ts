/** Directory trees of this machine: what they hold, whether there is room for them, and making one empty again. */
import { execFile } from 'node:child_process'
import { lstat, mkdir, opendir, readdir, realpath, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'
import { promisify } from 'node:util'
import { SteadError, messageOf, systemCodeOf } from '../../base/index.ts'

/** Marks a directory in which a restore has begun and not ended. */
const markName = '.stead-restoring'
const reserveBytes = 64 * 1024 * 1024

/** When entries of a tree were changed. */
export interface Changes {
  /** The youngest change, milliseconds since 1970 with fractions; 0 for an empty tree. */
  readonly changedMs: number
  /** Whether something was changed between the two times, each included. */
  readonly between: boolean
}

/** Looks at all entries of a tree. Throws `backup.unreadable`. */
export async function changesOf(tree: string, fromMs: number, untilMs: number): Promise<Changes> {
  let changedMs = 0
  let between = false
  try {
    const pending = [tree]
    for (let dir = pending.pop(); dir !== undefined; dir = pending.pop()) {
      for await (const entry of await opendir(dir)) {
        const path = join(dir, entry.name)
        const { ctimeMs } = await lstat(path)
        if (ctimeMs > changedMs) changedMs = ctimeMs
        if (ctimeMs >= fromMs && ctimeMs <= untilMs) between = true
        if (entry.isDirectory()) pending.push(path)
      }
    }
  } catch (cause) {
    throw new SteadError({
      code: 'backup.unreadable',
      message: `${tree} cannot be backed up, because it cannot be read: ${messageOf(cause)}.`,
      hint: 'Backups have to be made as the user to whom the data belongs, or as root.',
      cause,
    })
  }
  return { changedMs, between }
}

/** Throws `backup.inside` when what protects a tree would lie in it. */
export async function ensureOutside(tree: string, path: string, what: string): Promise<void> {
  const [outer, inner] = await Promise.all([realpath(tree).catch(() => tree), realOrParent(path)])
  const way = relative(outer, inner)
  if (way === '..' || way.startsWith(`..${sep}`)) return
  throw new SteadError({
    code: 'backup.inside',
    message: `${what} ${path} lies within ${tree}, which is to be backed up.`,
    hint: 'It would be lost together with it. Choose a place elsewhere, on another disk at best.',
  })
}

/**
 * An empty directory to restore into, marked as unfinished. A restore that was cut off before is emptied. Answers how to let
 * go of it: `done` takes the mark away, once all is durable; `undo` leaves it as it was found. Throws `backup.not-empty`,
 * `backup.no-room`.
 */
export async function openEmpty(
  dir: string,
  bytes: number,
  replace: boolean,
): Promise<{ readonly done: () => Promise<void>; readonly undo: () => Promise<void> }> {
  const made = (await mkdir(dir, { recursive: true })) !== undefined
  const found = await readdir(dir)
  if (replace || found.includes(markName)) await emptyOut(dir)
  else if (found.length > 0) {
    throw new SteadError({
      code: 'backup.not-empty',
      message: `${dir} is not empty, and a restore takes nobody's place.`,
      hint: 'Restore into an empty directory, look at it, and exchange it then.',
    })
  }
  const { bavail, bsize } = await statfs(dir)
  if (bavail * bsize < bytes + reserveBytes) {
    if (made) await rm(dir, { recursive: true })
    throw new SteadError({
      code: 'backup.no-room',
      message: `${dir} has room for ${megabytes(bavail * bsize)}, and the backup holds ${megabytes(bytes)}.`,
      hint: 'Restore onto a larger disk.',
      retry: 'later',
    })
  }
  const mark = join(dir, markName)
  await writeFile(mark, 'A restore into this directory has not ended.\n', { flush: true })
  return {
    async done() {
      await syncDisk(dir)
      await rm(mark)
      await syncDisk(dir)
    },
    async undo() {
      await emptyOut(dir)
      if (made) await rm(dir, { recursive: true, force: true })
    },
  }
}

/** Takes a tree away. */
export async function removeTree(dir: string): Promise<void> {
  await rm(dir, { recursive: true, force: true })
}

/** Whether a directory of that path is there. */
export async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  )
}

/** Deletes all that a directory holds, and not the directory, which may be more than that. */
export async function emptyOut(dir: string): Promise<void> {
  for (const name of await readdir(dir)) {
    // The mark goes last, so that what is cut off here is still known as unfinished.
    if (name !== markName) await rm(join(dir, name), { recursive: true, force: true })
  }
  await rm(join(dir, markName), { force: true })
}

/** Makes the disk that holds a tree durable: one call, however many files. */
async function syncDisk(dir: string): Promise<void> {
  await promisify(execFile)('sync', process.platform === 'linux' ? ['--file-system', dir] : [])
}

async function realOrParent(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (cause) {
    if (systemCodeOf(cause) !== 'ENOENT' || dirname(path) === path) return path
    return join(await realOrParent(dirname(path)), path.slice(dirname(path).length + 1))
  }
}

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1e6)} MB`
}
