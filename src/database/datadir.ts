/**
 * Data directories, as seen through programs that run in the resource's sandbox: what is in one, and running a program on it.
 */
import { SteadError } from '../base/index.ts'
import type { ProviderContext, ProviderProgram } from '../provider/index.ts'
import { chooseBinaries } from './binaries.ts'
import type { PostgresBinaries } from './binaries.ts'
import { parseConfig } from './config.ts'
import { inUseCode, inspectProgram } from './programs.ts'

/**
 * The installation that fits a data directory: of the version of its data, which has to be the one the config asks for,
 * if it asks. Changes nothing. Throws `database.version-mismatch`, `database.damaged`, `database.binaries-missing`.
 */
export async function binariesFor(
  context: ProviderContext,
  dataDir: string,
  found: readonly PostgresBinaries[],
): Promise<PostgresBinaries> {
  const wanted = parseConfig(context.name, context.config).version
  const version = await versionOf(context, dataDir)
  if (version === null || wanted === null || wanted === version) return chooseBinaries(found, version ?? wanted)
  throw new SteadError({
    code: 'database.version-mismatch',
    message: `database ${context.name} has data of PostgreSQL ${version}, but the app asks for ${wanted}`,
    hint: `Ask for version '${version}', or move the data into a new database with pg_dump. Nothing was changed.`,
  })
}

/** Major version of the data in a directory; null when there is none yet. Throws `database.damaged`. */
async function versionOf(context: ProviderContext, dataDir: string): Promise<string | null> {
  const output = await runToEnd(context, inspectProgram(dataDir), 'be looked at')
  if (output.includes('stead:absent')) return null
  const missing = [...output.matchAll(/stead:missing (\S+)/g)].map((match) => match[1])
  const version = /stead:version (\d+)\s*$/m.exec(output)?.[1]
  if (missing.length === 0 && version !== undefined) return version
  throw new SteadError({
    code: 'database.damaged',
    message: `the data of database ${context.name} is damaged: ${missing.length > 0 ? `${missing.join(', ')} missing` : 'PG_VERSION holds no version'}`,
    hint: `Put it back from a checkpoint or a backup. Nothing was changed in ${dataDir}.`,
  })
}

/** Runs a program and answers its output. Throws `database.in-use`, or `database.program-failed` with its last lines. */
export async function runToEnd(context: ProviderContext, program: ProviderProgram, purpose: string): Promise<string> {
  // The resource's own directories are always there; what is left is what this program needs besides.
  const writes = program.writes.filter((dir) => dir !== context.dataDir)
  const { code, sentence, output } = await context.run({ ...program, writes })
  if (code === 0) return output
  if (code === inUseCode) {
    throw new SteadError({
      code: 'database.in-use',
      message: `the data of database ${context.name} cannot ${purpose}: a server runs on it`,
      hint: 'Stop that server first.',
      retry: 'later',
    })
  }
  const nameless = output.includes('could not look up effective user ID')
  throw new SteadError({
    code: 'database.program-failed',
    message: `the data of database ${context.name} cannot ${purpose}: ${sentence}`,
    hint: nameless
      ? `The user it runs as needs a line in /etc/passwd: ${output.trim()}`
      : `Its last lines:\n${output.trimEnd().split('\n').slice(-10).join('\n')}`,
  })
}
