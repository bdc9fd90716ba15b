/**
 * How a migration that was refused or has failed is told: with file, line, the line itself and the server's own words.
 */
import { SteadError } from '../base/index.ts'
import { charactersOf, placeOf } from './sql.ts'
import type { Statement } from './sql.ts'

/** A text with statements, and what it is called. */
export interface NamedText {
  readonly name: string
  readonly text: string
}

/** What the server said about a statement. */
export interface StatementFailure {
  readonly message: string
  readonly detail: string | null
  readonly hint: string | null
  readonly sqlState: string
  readonly position: number | null
}

/** What holds after a failure, as a sentence: of the files that ran before, `stand` cannot be taken back. */
export function whatStands(stand: readonly string[]): string {
  return stand.length === 0 ? 'Nothing was changed.' : `What ran before it stands: ${stand.join(', ')}.`
}

/** The error for a statement that the server refused, with its place in the file and the server's own words. */
export function migrationFailure(
  file: NamedText,
  statement: Statement,
  failure: StatementFailure,
  cause: unknown,
  stand: readonly string[] = [],
): SteadError {
  const lockWait = failure.sqlState === '55P03' || failure.sqlState === '40P01'
  // The server went away, or was told to end the session.
  const wasEnded = failure.sqlState.startsWith('57P')
  return new SteadError({
    code: 'database.migration-failed',
    message: excerpt(file, statement, failure.position, failure.message),
    hint: [
      failure.detail ?? '',
      failure.hint ?? '',
      lockWait ? 'Another session holds a lock on it; try again when that session is done.' : '',
      whatStands(stand),
    ]
      .filter((part) => part !== '')
      .join(' '),
    retry: lockWait || wasEnded ? 'later' : 'never',
    cause,
  })
}

const excerptColumnsMax = 160

/** `file:line: message`, the line, and a caret under the place where the position is known. */
export function excerpt(file: NamedText, statement: Statement, position: number | null, message: string): string {
  const place = placeOf(file.text, statement, position)
  const characters = charactersOf(place.lineText)
  const from = Math.max(0, place.column - Math.floor(excerptColumnsMax / 2))
  const shown = characters.slice(from, from + excerptColumnsMax)
  const before = shown.slice(0, place.column - 1 - from).map((character) => (character === '\t' ? '\t' : ' '))
  const caret = position === null ? '' : `\n  ${before.join('')}^`
  return `${file.name}:${place.line}: ${message}\n  ${shown.join('')}${caret}`
}
