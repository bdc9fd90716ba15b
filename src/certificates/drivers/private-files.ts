/**
 * Files that hold keys: only their owner can read them, and they are there whole or not at all. One that others can read is
 * not used: whoever has read a key keeps it.
 */
import { link, mkdir, open, readFile, rename, stat, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { isSteadError, randomId, SteadError, systemCodeOf } from '../../base/index.ts'
import type { Random } from '../../base/index.ts'

const bytesMax = 256 * 1024

/** The text of a private file; null when there is none. Throws `certificates.open-key`, `certificates.unreadable`. */
export async function readPrivate(path: string): Promise<string | null> {
  try {
    const { mode, size } = await stat(path)
    if ((mode & 0o077) !== 0) throw openKey(path)
    if (size > bytesMax) throw new Error(`it has ${size} bytes`)
    return await readFile(path, 'utf8')
  } catch (cause) {
    if (systemCodeOf(cause) === 'ENOENT') return null
    throw unreadable(path, cause)
  }
}

/** Writes a private file, in place of one that is there. Throws `certificates.unwritable`. */
export async function writePrivate(path: string, text: string, random: Random): Promise<void> {
  await writeThen(path, text, random, (made) => rename(made, path))
}

/** Writes a private file unless there is one; answers what is in it then. Two that come together agree. */
export async function writePrivateOnce(path: string, text: string, random: Random): Promise<string> {
  await writeThen(path, text, random, async (made) => {
    await link(made, path).catch((error: unknown) => {
      if (systemCodeOf(error) !== 'EEXIST') throw error
    })
    await unlink(made)
  })
  return (await readPrivate(path)) ?? text
}

async function writeThen(
  path: string,
  text: string,
  random: Random,
  then: (made: string) => Promise<void>,
): Promise<void> {
  const made = `${path}.${randomId(random)}`
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o711 })
    const file = await open(made, 'wx', 0o600)
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await then(made)
  } catch (cause) {
    await unlink(made).catch(() => undefined)
    throw new SteadError({
      code: 'certificates.unwritable',
      message: `${path} cannot be written: ${systemCodeOf(cause) ?? 'it failed'}.`,
      hint: 'See that its directory is there, may be written, and has room.',
      retry: 'later',
      cause,
    })
  }
}

function openKey(path: string): SteadError {
  return new SteadError({
    code: 'certificates.open-key',
    message: `The key in ${path} can be read by others than its owner.`,
    hint: `Close it with chmod 600 ${path}; if somebody may have read it, delete it instead and a new one is made.`,
  })
}

/** What a file system says about a file that should be readable. */
export function unreadable(path: string, cause: unknown): SteadError {
  if (isSteadError(cause)) return cause
  const code = systemCodeOf(cause)
  return new SteadError({
    code: 'certificates.unreadable',
    message: `${path} cannot be read: ${code ?? (cause instanceof Error ? cause.message : 'it failed')}.`,
    hint: 'See that it is there and that this user may read it.',
    retry: 'later',
    cause,
  })
}
