/** What the child process says to its parent on file descriptor 3: a line when it has started, then one answer as JSON. */

/** The file descriptor. Nothing the app file prints goes there. */
export const answerFd = 3

/** The first line: every guard stands, and no line of the app file has run. */
export const startedLine = 'started\n'

/** Longest answer in bytes. A graph at its limits is far below. */
export const answerBytesMax = 16_000_000

/** Longest text of something thrown that is looked at. */
const textCharsMax = 10_000

/** What the parent asks, as the child's one argument. */
export interface Question {
  /** Real path of the app file. */
  readonly file: string
  readonly environment: { readonly name: string; readonly production: boolean }
  /** Where packages that this platform's own code imports are, as URLs: the child cannot look for them. */
  readonly packages: Readonly<Record<string, string>>
}

export type Answer =
  | { readonly kind: 'graph'; readonly graph: unknown }
  | { readonly kind: 'no-default'; readonly exports: readonly string[] }
  | ({ readonly kind: 'thrown' } & Thrown)

/** Something that was thrown, as data. Empty texts where it was no error. */
export interface Thrown {
  readonly name: string
  readonly message: string
  readonly stack: string
  readonly code: string
  readonly hint: string
  /** What a refused access was for: a path, an address. */
  readonly resource: string
}

/** The answer in a text, or null. The child is not trusted: what has the wrong form is nothing. */
export function readAnswer(text: string): Answer | null {
  const value = parse(text)
  if (typeof value !== 'object' || value === null || !('kind' in value)) return null
  if (value.kind === 'graph' && 'graph' in value) return { kind: 'graph', graph: value.graph }
  if (value.kind === 'no-default' && 'exports' in value && Array.isArray(value.exports)) {
    return { kind: 'no-default', exports: value.exports.map(String) }
  }
  if (value.kind !== 'thrown') return null
  const textOf = (key: keyof Thrown): string => {
    const found: unknown = Reflect.get(value, key)
    return typeof found === 'string' ? found.slice(0, textCharsMax) : ''
  }
  const [name, message, stack] = [textOf('name'), textOf('message'), textOf('stack')]
  return {
    kind: 'thrown',
    name,
    message,
    stack,
    code: textOf('code'),
    hint: textOf('hint'),
    resource: textOf('resource'),
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
