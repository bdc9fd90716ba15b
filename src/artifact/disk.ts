/**
 * The few ways in which this room writes to disk. Everything appears complete or not at all: it is made under a name that
 * says who makes it, forced to disk, then renamed. What a dead process left behind is recognised by its name.
 */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { chmod, mkdtemp, open, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { SteadError, systemCodeOf } from '../base/index.ts'
import { mapLimited } from './concurrency.ts'

/** Every file and directory of a tree carries this time (1980-01-01 UTC, the earliest that zip files can hold), so that trees are equal on every machine. */
export const treeTimeSeconds = 315_532_800

/** Up to so many files are forced to disk one by one; beyond, the whole file system at once is faster. */
const syncSinglyMax = 64

const litterPrefix = '.by-'

/** A directory of our own inside `parent`, recognised as litter when this process is gone. */
export function makeWorkDirectory(parent: string): Promise<string> {
  return mkdtemp(join(parent, `${litterPrefix}${ownerOf(process.pid)}-`))
}

/** Removes the work directories in `parent` whose makers are gone. */
export async function removeLitter(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const owner = name.startsWith(litterPrefix) ? name.slice(litterPrefix.length).split('-')[0] : undefined
    if (owner === undefined || owner === ownerOf(Number.parseInt(owner, 10))) continue
    await removeTree(join(parent, name))
  }
}

/** Takes a directory out of sight in one step, then removes it. Nothing happens when it is not there. */
export async function discard(path: string): Promise<void> {
  // Beside it: a read-only directory cannot be moved to another parent but by root.
  const gone = join(dirname(path), `${litterPrefix}${ownerOf(process.pid)}-${basename(path)}`)
  try {
    await rename(path, gone)
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return
    throw error
  }
  await removeTree(gone)
}

/** Removes a tree whose directories may be read-only. */
export async function removeTree(path: string): Promise<void> {
  if (process.getuid?.() !== 0) await makeWritable(path)
  await rm(path, { recursive: true, force: true })
}

/** Moves a finished directory to its name. False when something complete is there already. */
export async function publish(work: string, path: string): Promise<boolean> {
  try {
    await rename(work, path)
  } catch (error) {
    if (['ENOTEMPTY', 'EEXIST'].includes(systemCodeOf(error) ?? '')) return false
    throw error
  }
  await syncPath(dirname(path))
  return true
}

/** Forces files to disk. `within`: a path on their file system. */
export async function syncFiles(paths: readonly string[], within: string): Promise<void> {
  if (paths.length > syncSinglyMax && (await syncFileSystem(within))) return
  await mapLimited(paths, 16, syncPath)
}

/** Forces one file or directory to disk. */
export async function syncPath(path: string): Promise<void> {
  await using handle = await open(path, 'r')
  await handle.sync()
}

/** A full disk is the user's to mend, so it is said in a sentence; every other failure is passed on as it is. */
export function explainDisk(error: unknown, root: string): unknown {
  if (!['ENOSPC', 'EDQUOT'].includes(systemCodeOf(error) ?? '')) return error
  return new SteadError({
    code: 'artifact.disk-full',
    message: `the disk that holds ${root} is full`,
    hint: 'Free some space or sweep old bundles, then try again. Nothing half made was kept.',
    retry: 'later',
    cause: error,
  })
}

/** Process id and start time, which together name a process also across reboots; where there is no /proc, the id alone. '' for one that is gone. */
function ownerOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name of the program may hold anything, so the fields are counted from its closing parenthesis.
    return `${pid}.${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''}`
  } catch {
    return process.platform !== 'linux' && isAlive(pid) ? `${pid}.` : ''
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return systemCodeOf(error) === 'EPERM'
  }
}

async function makeWritable(path: string): Promise<void> {
  const found = await readdir(path, { withFileTypes: true }).catch(() => null)
  if (found === null) return
  await chmod(path, 0o700)
  for (const item of found) if (item.isDirectory()) await makeWritable(join(path, item.name))
}

async function syncFileSystem(within: string): Promise<boolean> {
  try {
    await promisify(execFile)('sync', ['-f', within])
    return true
  } catch {
    return false
  }
}
