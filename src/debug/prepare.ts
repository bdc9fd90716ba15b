/**
 * What a program is started with so that a debugger can be let in later, for languages that cannot be entered otherwise: a
 * variable of its environment, and the file that it names. Pure.
 *
 * Invariant: until a debugger is asked for the program does what it does without; nothing listens.
 */
import { hookDirectory } from './door.ts'
import { javaAgent } from './java/agent.ts'
import { pythonHook } from './python/hook.ts'
import { rubyHook } from './ruby/hook.ts'

export interface Prepared {
  readonly env: Readonly<Record<string, string>>
  /** By path, as the program sees it. */
  readonly files: Readonly<Record<string, string>>
}

/** Languages that have to be prepared. */
export const preparedLanguages: readonly string[] = ['python', 'ruby', 'java']

/**
 * The preparation for a language. `directory` is one that the program sees and does not write into; `env` is what it is
 * started with otherwise.
 */
export function prepareFor(
  language: string,
  directory: string,
  env: Readonly<Record<string, string | undefined>>,
): Prepared {
  const hooks = `${directory}/${hookDirectory}`
  switch (language) {
    case 'python':
      return {
        env: { PYTHONPATH: joined(hooks, ':', env['PYTHONPATH']) },
        files: { [`${hooks}/sitecustomize.py`]: pythonHook },
      }
    case 'ruby':
      // What stands there is split at spaces.
      if (/\s/.test(hooks)) return { env: {}, files: {} }
      return {
        env: { RUBYOPT: joined(`-r${hooks}/door.rb`, ' ', env['RUBYOPT']) },
        files: { [`${hooks}/door.rb`]: rubyHook },
      }
    case 'java':
      // An agent that somebody chose is theirs.
      if (/jdwp/.test(env['JAVA_TOOL_OPTIONS'] ?? '')) return { env: {}, files: {} }
      return { env: { JAVA_TOOL_OPTIONS: joined(javaAgent, ' ', env['JAVA_TOOL_OPTIONS']) }, files: {} }
    default:
      return { env: {}, files: {} }
  }
}

function joined(ours: string, by: string, own: string | undefined): string {
  return own === undefined || own === '' ? ours : `${ours}${by}${own}`
}

/**
 * Languages that a program may be in, by how it is started; those that start others may start Python. Java says a line on its
 * error output for what it is told so, and Ruby does not start where it cannot read what it is told: only programs that are
 * known to be theirs are.
 */
export function languagesOf(argv: readonly string[]): readonly string[] {
  const [program = ''] = argv
  const name = program.slice(program.lastIndexOf('/') + 1)
  if (/^node(?:js)?[\d.]*$/.test(name)) return []
  if (name === 'java') return ['java']
  return rubyPrograms.test(name) ? ['ruby'] : ['python']
}

const rubyPrograms = /^(?:ruby[\d.]*|bundle|rails|rake|puma|rackup|sidekiq|unicorn)$/
