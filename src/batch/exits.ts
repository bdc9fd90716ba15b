/** Ends of tasks that the core tells itself. Pure. */
import type { TaskExit } from '../protocol/index.ts'

/** Whether it ended as it should. */
export function isWell(exit: TaskExit): boolean {
  return exit.cause === 'code' && exit.code === 0
}

/** It never ran, or was ended in another way than by itself. */
export function notStarted(sentence: string): TaskExit {
  return { cause: 'not-started', code: null, signal: null, sentence }
}

/** Nobody knows. */
export function lost(node: string): TaskExit {
  return { cause: 'unknown', code: null, signal: null, sentence: `its node ${node} was lost` }
}
