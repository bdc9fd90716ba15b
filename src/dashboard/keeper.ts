/** Keeps sessions in a file that only its owner may read. Invariant: the file is always whole; one that is not is no session. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import type { Caller } from '../operator/index.ts'
import type { Keeper } from './access.ts'

/** A keeper at a path. A disk that takes nothing costs a login after the next restart, and nothing else. */
export function fileKeeper(path: string, callerOf: (name: string, from: string) => Caller | null): Keeper {
  return {
    callerOf,
    read() {
      try {
        return JSON.parse(readFileSync(path, 'utf8')) as unknown
      } catch {
        return null
      }
    },
    write(sessions) {
      try {
        writeFileSync(`${path}.new`, JSON.stringify(sessions), { mode: 0o600 })
        renameSync(`${path}.new`, path)
      } catch {
        // Said above.
      }
    },
  }
}
