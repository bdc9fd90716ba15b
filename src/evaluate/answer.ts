/** What the child process says to its parent on file descriptor 3: a line when it has started, then one answer as JSON. */

/** The file descriptor. Nothing the app file prints goes there. */
export const answerFd = 3

/** The first line: every guard stands, and no line of the app file has run. */
export const startedLine = 'started\n'

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
