/**
 * What the kernel wrote down of programs that it ended for a system call: who, by the host's user, and which call. Read from
 * its own log, so that children count too, whose end the program itself may hide.
 *
 * Invariant: only what comes after it was opened is told; a machine that keeps the log closed tells nothing.
 */
import { closeSync, constants, openSync, readSync } from 'node:fs'
import type { Clock } from '../base/index.ts'

const lookMs = 250
/** Records taken at once; the kernel keeps the rest. */
const recordsMax = 1000

export interface EndedBySystemCall {
  readonly hostUid: number
  readonly pid: number
  readonly call: number
}

const path = '/dev/kmsg'

/** Whether this machine lets us. */
export function canReadKernelLog(): boolean {
  try {
    closeSync(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK))
    return true
  } catch {
    return false
  }
}

/** Reads one record of the log; null for all others. Ids and numbers only: names in it are the program's to choose. */
export function readRecordLine(line: string): EndedBySystemCall | null {
  const found =
    /audit: type=1326 audit\([\d.:]+\): auid=\d+ uid=(\d+) gid=\d+ ses=\d+ .*?pid=(\d+) .* sig=31 arch=[0-9a-f]+ syscall=(\d+) /.exec(
      line,
    )
  return found === null ? null : { hostUid: Number(found[1]), pid: Number(found[2]), call: Number(found[3]) }
}

/** Follows the log until disposed. Null where it cannot be read. */
export function followKernelLog(clock: Clock, onEnded: (ended: EndedBySystemCall) => void): Disposable | null {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch {
    return null
  }
  const bytes = Buffer.alloc(8192)
  const take = (tell: boolean): void => {
    for (let records = 0; records < recordsMax || !tell; records += 1) {
      try {
        const line = bytes.toString('latin1', 0, readSync(fd, bytes, 0, bytes.length, null))
        const ended = tell ? readRecordLine(line) : null
        if (ended !== null) onEnded(ended)
      } catch (error) {
        // Overwritten before it was read: the next one is there. All else means that there is no more now.
        if (error instanceof Error && 'code' in error && error.code === 'EPIPE') continue
        return
      }
    }
  }
  take(false)
  let timer = clock.after(lookMs, look)
  function look(): void {
    take(true)
    timer = clock.after(lookMs, look)
  }
  return {
    [Symbol.dispose]() {
      timer[Symbol.dispose]()
      closeSync(fd)
    },
  }
}
