/** What a Java machine prints of its threads, as stacks. Pure; lines that are not as expected are left out. */
import type { Frame, ThreadStack } from '../recipe.ts'

/** Threads of the machine itself, which have no Java to show. */
const framesMax = 256

/** Of `Thread.print`: a head for each thread, its state, and its frames from the innermost. */
export function javaThreads(text: string): readonly ThreadStack[] {
  return text.split(/\n(?=")/).flatMap((block) => {
    const [head = '', ...lines] = block.split('\n')
    const name = /^"(.*)" (?:#\d+|prio|os_prio|\[)/.exec(head)?.[1]
    const state = /java\.lang\.Thread\.State: (\w+)/.exec(lines[0] ?? '')?.[1]
    if (name === undefined || state === undefined) return []
    const frames = lines.flatMap(frameOf).slice(0, framesMax)
    // A thread in a call of the system counts as runnable there; its innermost frame is native then.
    const native = /Native Method\)/.test(lines.find((line) => /^\s*at /.test(line)) ?? '')
    return [{ name, state: state === 'RUNNABLE' && !native ? ('running' as const) : ('waiting' as const), frames }]
  })
}

/** `at com.acme.Web.serve(Web.java:42)`, with a module and a version before it where there is one. */
function frameOf(line: string): readonly Frame[] {
  const [, name, place] = /^\s*at (?:[\w.@$-]*\/)?([\w.$<>/]+)\((.*)\)\s*$/.exec(line) ?? []
  if (name === undefined || place === undefined) return []
  const [, file = '', number = '0'] = /^(?:[\w.@$-]+\/)?([^:]+\.\w+):(\d+)$/.exec(place) ?? []
  return [{ name, file, line: Number(number) }]
}
