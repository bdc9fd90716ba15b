/** Carries the bytes of two sockets to each other, through half-close, until both have ended. */
import type { Socket } from 'node:net'

/**
 * Joins an accepted stream to the one dialled for it. When either breaks the other is reset: whoever waits is told at once.
 * `onEnd` is called once when both are over.
 */
export function carry(caller: Socket, callee: Socket, onEnd: (failedBeforeFirstByte: boolean) => void): void {
  let failed = false
  callee.allowHalfOpen = true
  callee.setNoDelay(true)
  caller.pipe(callee)
  callee.pipe(caller)
  callee.on('error', () => {
    failed = callee.bytesRead === 0
    caller.resetAndDestroy()
  })
  caller.on('error', () => callee.destroy())
  caller.on('close', () => {
    callee.destroy()
    onEnd(failed)
  })
  callee.on('close', () => caller.destroy())
}
