/** Files that a command writes for its user. Invariant: that one cannot be written is said before the work, and not after it. */
import { accessSync, constants, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { messageOf, SteadError } from '../base/index.ts'

/** Throws `cli.cannot-write` where no file can be laid at `path`, or the one that is there may not be written. */
export function needWritable(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found?.isDirectory() === true) throw cannotWrite(path, 'it is a directory')
  try {
    accessSync(found === undefined ? dirname(path) : path, constants.W_OK)
  } catch (error) {
    throw cannotWrite(path, messageOf(error))
  }
}

/** For a file that could not be written, with the system's words. */
export function cannotWrite(path: string, why: string): SteadError {
  return new SteadError({
    code: 'cli.cannot-write',
    message: `${path} cannot be written: ${why}`,
    hint: 'Name a file in a directory that is there and that you may write to.',
  })
}
