/**
 * Where Python 3.14 keeps what makes it run a file: the table that it begins its own state with, for debuggers. Pure.
 *
 * Invariant: a table that is not exactly of that version is not believed; its layout is another in others.
 */

export interface RemoteOffsets {
  /** In the state of the whole machine: where its first interpreter is named. */
  readonly interpreters: number
  /** In an interpreter: where its main thread is named, and whether it lets files be run in it. */
  readonly mainThread: number
  readonly enabled: number
  /** In a thread: the flags that it looks at now and then; that a file is to be run; which. */
  readonly flags: number
  readonly pending: number
  readonly path: number
  readonly pathBytesMax: number
}

/** How much of it is needed. */
export const offsetsBytes: number = 1024

/** The flag that makes a thread look for what is to be run. */
export const pleaseStop: number = 1 << 5

const cookie = 'xdebugpy'
const version314 = 0x030e
/** Of the part on debuggers, in 3.14. */
const support = 712

/** Null for what is no such table. */
export function remoteOffsets(table: Buffer): RemoteOffsets | null {
  if (table.length < offsetsBytes || table.toString('latin1', 0, cookie.length) !== cookie) return null
  if (Number(table.readBigUInt64LE(8)) >>> 16 !== version314) return null
  const at = (offset: number): number => Number(table.readBigUInt64LE(offset))
  const remote = at(support + 8)
  const found = {
    interpreters: at(40),
    mainThread: at(80),
    enabled: at(support + 16),
    flags: at(support),
    pending: remote + at(support + 24),
    path: remote + at(support + 32),
    pathBytesMax: at(support + 40),
  }
  return Object.values(found).every((value) => value < offsetMax) ? found : null
}

/** A state of Python is smaller. */
const offsetMax = 10_000_000
