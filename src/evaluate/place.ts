/** Places in the app's code, read out of what Node says about errors. Pure; the child and its parent both use it. */
import { fileURLToPath } from 'node:url'

/** Where in the app's code something is. `column` counts from 1; 0 when only the line is known. */
export interface Place {
  readonly path: string
  readonly line: number
  readonly column: number
}

/** The path of a file URL, or null when it is none. */
export function pathOf(url: string): string | null {
  try {
    return fileURLToPath(url)
  } catch {
    return null
  }
}

/** The place above a caret, as Node prints it for code that does not compile. */
export function placeOfCaret(text: string): Place | null {
  const match = /^(file:\/\/\S+):(\d+)\n(?:.*\n){1,4}?( *)\^/m.exec(text)
  const path = pathOf(match?.[1] ?? '')
  return match === null || path === null ? null : { path, line: Number(match[2]), column: (match[3]?.length ?? 0) + 1 }
}

/** The first place of a stack that lies in the app's own code. */
export function placeInStack(stack: string, ownCode: string): Place | null {
  for (const match of stack.matchAll(/^ +at .*?(file:\/\/\S+):(\d+):(\d+)\)?$/gm)) {
    const path = pathOf(match[1] ?? '')
    if (path !== null && !path.startsWith(ownCode)) {
      return { path, line: Number(match[2]), column: Number(match[3]) }
    }
  }
  return null
}

/** Where an error points into the app's code: a caret before a stack, because the stack of a compiler is not the file's. */
export function placeOf(stack: string, ownCode: string): Place | null {
  return placeOfCaret(stack) ?? placeInStack(stack, ownCode)
}
