/**
 * What a program is started with so that a debugger can be let in later, for languages that cannot be entered otherwise: a
 * variable of its environment, and the file that it names. Pure.
 *
 * Invariant: until a debugger is asked for the program does what it does without; nothing listens.
 */
import { hookDirectory, pythonHook } from './python/hook.ts'

export interface Prepared {
  readonly env: Readonly<Record<string, string>>
  /** By path, as the program sees it. */
  readonly files: Readonly<Record<string, string>>
}

/** Languages that have to be prepared. */
export const preparedLanguages: readonly string[] = ['python']

/**
 * The preparation for a language. `directory` is one that the program sees and does not write into; `env` is what it is
 * started with otherwise.
 */
export function prepareFor(
  language: string,
  directory: string,
  env: Readonly<Record<string, string | undefined>>,
): Prepared {
  if (language !== 'python') return { env: {}, files: {} }
  const hooks = `${directory}/${hookDirectory}`
  const own = env['PYTHONPATH']
  return {
    env: { PYTHONPATH: own === undefined || own === '' ? hooks : `${hooks}:${own}` },
    files: { [`${hooks}/sitecustomize.py`]: pythonHook },
  }
}

/** Languages that a program may be in, by how it is started; those that start others may start any. */
export function languagesOf(argv: readonly string[]): readonly string[] {
  const [program = ''] = argv
  return /(?:^|\/)node(?:js)?[\d.]*$/.test(program) ? [] : preparedLanguages
}
