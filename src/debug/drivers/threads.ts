/** Which threads of a process run and which wait, as the kernel sees it. Invariant: read before anything is stopped. */
import { readdirSync, readFileSync } from 'node:fs'
import { stateAndStart } from '../facts.ts'
import type { ProcessFacts } from '../recipe.ts'

const threadsMax = 5000

/**
 * Answers for the name of a thread, as debuggers write it, with the kernel's id in it (`Thread 0x7f… (LWP 12)`, `tid 12`), or
 * for its place in their list where the name says nothing.
 */
export function runningThreads({ pid }: Pick<ProcessFacts, 'pid'>): (name: string, index: number) => boolean {
  const states = new Map<number, boolean>()
  try {
    for (const tid of readdirSync(`/proc/${pid}/task`).slice(0, threadsMax)) {
      const found = stateAndStart(readFileSync(`/proc/${pid}/task/${tid}/stat`, 'utf8'))
      states.set(Number(tid), found?.state === 'R')
    }
  } catch {
    // Gone, or just ending.
  }
  const inOrder = [...states.values()]
  return (name, index) => {
    const ids = [...name.matchAll(/\d+/g)].map(([digits]) => Number(digits)).filter((id) => states.has(id))
    const [id] = ids
    return (id === undefined ? inOrder[index] : states.get(id)) ?? false
  }
}
