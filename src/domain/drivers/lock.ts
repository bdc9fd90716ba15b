/**
 * The lock of a domain: one opener at a time, on this machine. It is SQLite's lock on an empty file, because that is a
 * lock of the kernel that dies with the process, on Linux and macOS, and also holds between two openers in one process.
 */
import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { SteadError } from '../../base/index.ts'

/** Takes the lock file at `path`; disposing lets it go. Throws `domain.in-use` when somebody has it. */
export function takeLock(path: string): Disposable {
  const file = new DatabaseSync(path, { timeout: 0 })
  try {
    file.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
    // Whoever destroyed the domain just now had the lock of a file that is gone.
    if (!existsSync(path)) throw new Error(`${path} has vanished`)
  } catch (cause) {
    file.close()
    throw new SteadError({
      code: 'domain.in-use',
      message: `The domain's lock ${path} is held by another opener.`,
      hint: 'A domain is opened once: close it there, or end the process that has it (its lock ends with it).',
      retry: 'later',
      cause,
    })
  }
  return { [Symbol.dispose]: () => file.close() }
}
