/**
 * The list of people on disk, mode 0600, and their lines in `authorized_keys`. Invariant: the file is replaced whole and
 * is on disk before a change is told; a key is accepted by sshd only after its person is in the list.
 */
import { mkdir, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { type Clock, messageOf, type Random, randomId, SteadError, systemCodeOf, systemRandom } from '../base/index.ts'
import { type People, peopleSchema } from './people.ts'
import { authorizedLine, withLines } from './ssh-keys.ts'

/**
 * The list in a file; empty when there is none. What was read and is no list is laid aside and told: nobody is let in by
 * mistake, and the owner always is. Throws `operator.people-unreadable` when it could not be read: it may be whole.
 */
export async function readPeople(
  path: string,
  { clock, random, onNotice }: { clock: Clock; random: Random; onNotice: (text: string) => void },
): Promise<People> {
  try {
    return peopleSchema.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch (cause) {
    if (systemCodeOf(cause) === 'ENOENT') return []
    const why = messageOf(cause).split('\n')[0] ?? ''
    if (!(cause instanceof SyntaxError || cause instanceof z.ZodError)) {
      throw new SteadError({
        code: 'operator.people-unreadable',
        message: `the list of people cannot be read: ${why}`,
        hint: `See to ${path} and its disk, then start again. Nothing was changed.`,
        retry: 'later',
        cause,
      })
    }
    const day = new Date(clock.nowMs()).toISOString().replace(/[:.]/g, '-')
    const aside = `${path}.damaged-${day}-${randomId(random)}`
    await rename(path, aside)
    onNotice(`the list of people could not be read (${why}), so only the owner is let in; it lies in ${aside}`)
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

/**
 * Replaces a file in one step; what is there keeps its owner and mode, and what is new has the owner of its directory: the
 * `authorized_keys` of another account are of use only while that account can read them. A link is followed, but nothing
 * that lies at the name of the new file: its directory may be another account's.
 */
async function replace(path: string, text: string): Promise<void> {
  const real = await realpath(path).catch(() => path)
  const found = await stat(real).catch(() => null)
  const { uid, gid } = found ?? (await stat(dirname(real)))
  const mode = found === null ? 0o600 : found.mode & 0o777
  const fresh = join(dirname(real), `.stead-${randomId(systemRandom, 16)}`)
  await using handle = await open(fresh, 'wx', 0o600)
  try {
    const made = await handle.stat()
    if (made.uid !== uid || made.gid !== gid) await handle.chown(uid, gid)
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
