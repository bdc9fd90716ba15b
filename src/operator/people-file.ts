/**
 * The list of people on disk, mode 0600, and their lines in `authorized_keys`. Invariant: the file is replaced whole and
 * is on disk before a change is told; a key is accepted by sshd only after its person is in the list.
 */
import { lstat, mkdir, open, readFile, realpath, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { messageOf, SteadError, systemCodeOf } from '../base/index.ts'
import { type People, peopleSchema } from './people.ts'
import { authorizedLine, withLines } from './ssh-keys.ts'

/**
 * The list in a file; empty when there is none. A file that cannot be read is laid aside and told: nobody is let in by
 * mistake, and the owner always is.
 */
export async function readPeople(path: string, onNotice: (text: string) => void): Promise<People> {
  try {
    return peopleSchema.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch (cause) {
    if (systemCodeOf(cause) === 'ENOENT') return []
    await rename(path, `${path}.damaged`)
    const why = messageOf(cause).split('\n')[0] ?? ''
    onNotice(`the list of people could not be read (${why}), so only the owner is let in; it lies in ${path}.damaged`)
    return []
  }
}

export async function writePeople(path: string, people: People): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  await replace(path, `${JSON.stringify(people, null, 1)}\n`)
}

/**
 * Writes the lines of all keys into an `authorized_keys` file, and nothing when they stand there already. Throws
 * `operator.keys-unwritable`.
 */
export async function writeKeys(path: string, entrance: readonly string[], people: People): Promise<void> {
  const lines = people.flatMap(({ name, sshKeys }) => sshKeys.map((key) => authorizedLine(entrance, name, key)))
  try {
    const before = await readFile(path, 'utf8').catch((error: unknown) => {
      if (systemCodeOf(error) === 'ENOENT') return ''
      throw error
    })
    const after = withLines(before, lines)
    if (after === before) return
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await replace(path, after)
  } catch (cause) {
    throw new SteadError({
      code: 'operator.keys-unwritable',
      message: `${path} cannot be written, so SSH would not know the key: ${messageOf(cause)}`,
      hint: 'Let the platform write there, or give the person a token instead.',
      cause,
    })
  }
}

/** Replaces a file in one step; what is there keeps its mode. A link is followed. */
async function replace(path: string, text: string): Promise<void> {
  const real = await realpath(path).catch(() => path)
  const mode = await lstat(real).then(
    (found) => found.mode & 0o777,
    () => 0o600,
  )
  const fresh = join(dirname(real), `.stead-${process.pid}`)
  try {
    await using handle = await open(fresh, 'w', mode)
    await handle.chmod(mode)
    await handle.writeFile(text)
    await handle.sync()
    await rename(fresh, real)
  } finally {
    await rm(fresh, { force: true })
  }
  await using directory = await open(dirname(real), 'r')
  await directory.sync()
}
