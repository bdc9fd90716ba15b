/** How tasks ended, as control is told. Pure. */
import { constants } from 'node:os'
import type { TaskExit } from '../protocol/index.ts'
import type { Exit } from '../sandbox/index.ts'

/** A signal as shells tell it: 128 and its number. `interrupted`: the node was shut down under it. */
export function taskExitOf(exit: Exit, interrupted: boolean = false): TaskExit {
  const number = Object.entries(constants.signals).find(([name]) => name === exit.signal)?.[1]
  const code = exit.code ?? (number === undefined ? null : 128 + number)
  return interrupted
    ? { ...exit, code, cause: 'interrupted', sentence: 'was ended with its platform' }
    : { ...exit, code }
}

export function notStarted(why: string): TaskExit {
  return { cause: 'not-started', code: null, signal: null, sentence: `could not be started: ${why}` }
}
