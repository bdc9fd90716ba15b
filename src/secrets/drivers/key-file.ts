/**
 * Keys in a file that only its owner can read, outside the store: a copy of the store alone opens nothing.
 *
 *   # Keeps the secrets of a stead store. Without this file they cannot be read.
 *   stead-key-1 <32 bytes in base64url>
 *
 * Invariants: the file is replaced whole and is on the disk before it counts; the first one is never replaced by another
 * first one; it is never read through a link, and never
 * while others could read it too.
 */
import { constants } from 'node:fs'
import { type FileHandle, link, mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { randomId, systemCodeOf, systemRandom } from '../../base/index.ts'
import { isKeyLength, keyOf, type WrappingKey } from '../envelope.ts'
import { failure } from '../errors.ts'
import type { KeySource } from '../keys.ts'

const header = '# Keeps the secrets of a stead store. Without this file they cannot be read.'
const format = 'stead-key-1'
/** A file with the keys of a change has two; more room than that is a mistake. */
const fileBytesMax = 4096

/** Keys in the file at `path`. The directory is made when the first key is written. */
export function keyFile(path: string): KeySource {
  const read = async (): Promise<readonly WrappingKey[] | null> => {
    const file = await openIfThere(path)
    if (file === null) return null
    try {
      await checkRights(path, file)
      return parseKeys(path, await file.readFile('utf8'))
    } finally {
      await file.close()
    }
  }
  return {
    place: path,
    read,
    async writeFirst(keys) {
      // A name of its own: others may be writing theirs.
      const fresh = `${path}.new-${randomId(systemRandom)}`
      try {
        await writeWhole(fresh, keys)
        await link(fresh, path)
      } catch (error) {
        if (systemCodeOf(error) !== 'EEXIST') throw error
      } finally {
        await rm(fresh, { force: true })
      }
      await syncDirectoryOf(path)
      const there = await read()
      if (there === null) throw badFile(path, 'was taken away while it was made')
      return there
    },
    async write(keys) {
      await writeWhole(`${path}.new`, keys)
      await rename(`${path}.new`, path)
      await syncDirectoryOf(path)
    },
  }
}

async function writeWhole(path: string, keys: readonly WrappingKey[]): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const lines = keys.map((key) => `${format} ${Buffer.from(key.bytes).toString('base64url')}`)
  const fresh = await open(path, 'w', 0o600)
  try {
    await fresh.chmod(0o600)
    await fresh.writeFile([header, ...lines, ''].join('\n'))
    await fresh.sync()
  } finally {
    await fresh.close()
  }
}

async function syncDirectoryOf(path: string): Promise<void> {
  const directory = await open(dirname(path), 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

async function openIfThere(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  } catch (cause) {
    const code = systemCodeOf(cause)
    if (code === 'ENOENT') return null
    if (code === 'ELOOP') throw badFile(path, 'is a link', cause)
    if (code === 'EACCES') throw badFile(path, 'may not be read by this user', cause)
    throw cause
  }
}

async function checkRights(path: string, file: FileHandle): Promise<void> {
  const { mode, uid, size } = await file.stat()
  if ((mode & 0o077) !== 0) {
    throw failure(
      'key-exposed',
      `the key file ${path} can be read or written by others (its mode is ${(mode & 0o777).toString(8)})`,
      `See who may have read it, then: chmod 600 ${path}; and change the key with \`stead secret rekey\`.`,
    )
  }
  const own = process.getuid?.()
  if (own !== undefined && uid !== own && own !== 0) throw badFile(path, `belongs to user ${uid}`)
  if (size > fileBytesMax) throw badFile(path, `has ${size} bytes`)
}

function parseKeys(path: string, text: string): readonly WrappingKey[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'))
  const keys = lines.map((line, index) => {
    const [word, key = ''] = line.split(' ')
    const bytes = Buffer.from(key, 'base64url')
    if (word === format && isKeyLength(bytes) && bytes.toString('base64url') === key) return keyOf(bytes)
    // The line itself is never shown: it may be a key.
    throw badFile(path, `holds no key in line ${index + 1} of its keys`)
  })
  if (keys.length === 0) throw badFile(path, 'holds no key')
  return keys
}

function badFile(path: string, what: string, cause?: unknown): Error {
  return failure(
    'bad-key-file',
    `the key file ${path} ${what}`,
    'Put the key file of this store in its place. Nothing was changed.',
    { cause },
  )
}
