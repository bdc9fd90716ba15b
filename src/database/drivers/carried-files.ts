/**
 * What is carried from one generation of the data to the next, as a file of lines. Whole or not there: it is written under
 * another name, brought to disk and renamed.
 */
import { mkdir, open, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { SteadError, messageOf } from '../../base/index.ts'

const chunkChars = 1024 * 1024

/** Writes lines into the file of a resource. Throws `database.carry-failed`. */
export async function writeCarried(dir: string, resource: string, lines: AsyncIterable<string>): Promise<void> {
  const path = pathOf(dir, resource)
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 })
    await using file = await open(`${path}.new`, 'w', 0o600)
    let chunk = ''
    for await (const line of lines) {
      chunk += `${line}\n`
      if (chunk.length < chunkChars) continue
      await file.write(chunk)
      chunk = ''
    }
    await file.write(chunk)
    await file.sync()
    await rename(`${path}.new`, path)
    await using parent = await open(dir, 'r')
    await parent.sync()
  } catch (cause) {
    throw failed(path, 'be written', cause)
  }
}

/** The lines of a resource's file; null when there is none. Throws `database.carry-failed`. */
export async function readCarried(dir: string, resource: string): Promise<AsyncIterable<string> | null> {
  const path = pathOf(dir, resource)
  try {
    await stat(path)
    return linesOf(path)
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return null
    throw failed(path, 'be read', cause)
  }
}

/** Opened when the first line is asked for, so that whoever asks for none has nothing to close. */
async function* linesOf(path: string): AsyncGenerator<string> {
  await using file = await open(path, 'r')
  yield* file.readLines()
}

function pathOf(dir: string, resource: string): string {
  return join(dir, `${resource}.carried.jsonl`)
}

function failed(path: string, what: string, cause: unknown): SteadError {
  return new SteadError({
    code: 'database.carry-failed',
    message: `what is carried to the next generation cannot ${what}: ${messageOf(cause)}`,
    hint: `It is in ${path}. See whether the disk is full, and try again.`,
    retry: 'later',
    cause,
  })
}
