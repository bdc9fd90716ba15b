/** Turns of whoever shows something that changes. Invariant: what changes during a turn, however often, is one more turn. */
import { setTimeout as pause } from 'node:timers/promises'

/** What tells of changes, without saying which. */
export interface Changing {
  onChange(run: () => void): Disposable
}

/**
 * Yields after a change, and not again before `pauseMs` are over; `first`: also at once. Ends when the signal aborts.
 */
export async function* changeTurns(
  changing: Changing,
  { first, pauseMs }: { readonly first: boolean; readonly pauseMs: number },
  signal: AbortSignal,
): AsyncIterable<void> {
  let changed = first
  let wake = (): void => {}
  using _listening = changing.onChange(() => {
    changed = true
    wake()
  })
  const onAbort = (): void => wake()
  signal.addEventListener('abort', onAbort)
  try {
    while (!signal.aborted) {
      if (!changed) await new Promise<void>((resolve) => (wake = resolve))
      if (signal.aborted) return
      changed = false
      yield
      await pause(pauseMs, undefined, { signal }).catch(() => {})
    }
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
