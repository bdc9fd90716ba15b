/**
 * The key of backups in a file, and on its way to another place. Invariant: the file is its owner's alone, there before the
 * first backup is made with it, and never replaced.
 */
import { link, open, readFile, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type Random, SteadError, messageOf, randomId, systemCodeOf } from '../../base/index.ts'
import { makeKeyText, parseKeyText } from '../key.ts'

/**
 * Makes a key in a new file, or writes one that was kept elsewhere (`text`); durable when it resolves. Throws
 * `backup.key-exists`, `backup.bad-key`.
 */
export async function writeKey(path: string, random: Random, text?: string): Promise<void> {
  const key = text === undefined ? makeKeyText(random) : parseKeyText(text, 'the text')
  const half = `${path}.${randomId(random)}`
  try {
    const file = await open(half, 'wx', 0o600)
    try {
      await file.writeFile(`${key}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    // A link, not a rename: of two that begin at once the second one is told, and no key is lost.
    await link(half, path)
  } catch (cause) {
    if (systemCodeOf(cause) !== 'EEXIST') throw cause
    throw new SteadError({
      code: 'backup.key-exists',
      message: `There is a key of backups at ${path} already.`,
      hint: 'Backups that were made with it need it. Choose another file for another key.',
    })
  } finally {
    await rm(half, { force: true })
  }
  await syncDir(dirname(path))
}

/** The key as it is in the file. Throws `backup.key-missing`, `backup.file-exposed`, `backup.bad-key`. */
export async function readKey(path: string): Promise<string> {
  const text = await readPrivate(path, 'The key of backups')
  const key = parseKeyText(text, path)
  // The tool takes the file as it is.
  if (text.trimEnd() === key) return key
  throw new SteadError({
    code: 'backup.bad-key',
    message: `The key of backups in ${path} is not written as it must be.`,
    hint: 'Nine groups of four small letters and digits with dashes between them, on one line.',
  })
}

/** The key for a person, with what to do with it. Throws as `readKey`. */
export async function exportKey(path: string): Promise<{ readonly key: string; readonly advice: readonly string[] }> {
  return {
    key: await readKey(path),
    advice: [
      'Without this key nobody can read the backups: not a thief, and not you.',
      'Keep it where this machine is not: in a password manager, or on paper in a drawer.',
      'It never changes. To restore on another machine, hand it over there first.',
    ],
  }
}

/** A file that others must not read. Throws `backup.key-missing`, `backup.file-exposed`. */
export async function readPrivate(path: string, what: string): Promise<string> {
  try {
    const { mode } = await stat(path)
    if ((mode & 0o077) !== 0) {
      throw new SteadError({
        code: 'backup.file-exposed',
        message: `${what} in ${path} can be read by others than its owner.`,
        hint: `\`chmod 600 ${path}\`, and think about who may have read it.`,
      })
    }
    return (await readFile(path, 'utf8')).slice(0, 10_000)
  } catch (cause) {
    if (cause instanceof SteadError) throw cause
    throw new SteadError({
      code: 'backup.key-missing',
      message: `${what} cannot be read from ${path}: ${messageOf(cause)}.`,
      hint: 'Put the key there that was kept elsewhere, as a file of mode 600.',
      cause,
    })
  }
}

async function syncDir(path: string): Promise<void> {
  const dir = await open(path, 'r')
  try {
    await dir.sync()
  } finally {
    await dir.close()
  }
}
