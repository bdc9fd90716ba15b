/** Finds the programs of the system that drivers start. Invariant: absolute paths only, from fixed places; never from the environment. */
import { accessSync, constants } from 'node:fs'
import { extname } from 'node:path'
import { SteadError } from '../../base/index.ts'
import { rotationFor } from '../output.ts'

const places = ['/usr/bin', '/bin', '/usr/sbin', '/sbin', '/usr/local/bin', '/opt/homebrew/bin']

/** Where a program is; null when it is not installed. */
export function findProgram(name: string): string | null {
  const found = places.find((place) => {
    try {
      accessSync(`${place}/${name}`, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
  return found === undefined ? null : `${found}/${name}`
}

/** Where a program is. Throws `sandbox.unavailable` when it is not installed. */
export function needProgram(name: string, install: string): string {
  const found = findProgram(name)
  if (found !== null) return found
  throw new SteadError({
    code: 'sandbox.unavailable',
    message: `The program ${name} is not installed on this machine.`,
    hint: install,
  })
}

/** What is weaker on a machine without Perl. */
export const withoutPerl =
  'output is kept with the secrets in it, which are taken out only when it is read: install perl (apt-get install perl)'

/** What writes the output of sandboxes. */
export interface Logger {
  /** Its command line for an output directory. */
  command(directory: string, outputBytesMax: number): readonly string[]
  readonly weaker: readonly string[]
}

/** s6-log where it is installed, else a process of Node, which is named as weaker. */
export function findLogger(): Logger {
  const s6 = findProgram('s6-log')
  if (s6 === null) return nodeLogger
  return {
    command(directory, outputBytesMax) {
      const { archives, fileBytes } = rotationFor(outputBytesMax)
      return [s6, '-b', `n${archives}`, `s${fileBytes}`, 'T', directory]
    },
    weaker: [],
  }
}

/** Keeps output with a Node process for each sandbox. */
export const nodeLogger: Logger = {
  command(directory, outputBytesMax) {
    const { archives, fileBytes } = rotationFor(outputBytesMax)
    const script = `${import.meta.dirname}/output-writer${extname(import.meta.filename)}`
    return [
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      script,
      directory,
      String(fileBytes),
      String(archives),
    ]
  },
  weaker: [
    'output is kept by a Node process of 30 to 40 MB for each instance: install s6 (apt-get install s6) for one of half a megabyte',
  ],
}
