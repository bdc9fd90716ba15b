/**
 * A command of Stead that has to run where the data is: on the server, by the user's own SSH, with what was typed here.
 *
 * Invariant: what varies are words of its own, never part of a script; nothing secret is among them.
 */
import { Readable } from 'node:stream'
import { isSteadError, SteadError } from '../../base/index.ts'
import {
  type Connection,
  connectServer,
  installDebian,
  isServerAddress,
  lookAtServer,
  parseServerAddress,
  type ServerState,
} from '../../remote/index.ts'
import type { Command, Input } from '../command.ts'
import { note } from '../terminal.ts'
import { operatorOf } from './remote-target.ts'

const script = `exec "\${STEAD_PREFIX:-/opt/stead}/current/bin/stead" "$@"`

export interface There {
  readonly command: Command
  readonly input: Input
  /** Whether the name of the app takes the place of the server's address; else that is left out. */
  readonly namesApp: boolean
  /** A Debian package that it needs there, with its program. */
  readonly needs: { readonly name: string; readonly program: string } | null
  /** What it reads from its standard input. */
  readonly typed?: Buffer
}

/** The word of a command line that means a server; null where there is none. */
export function serverIn(input: Input): string | null {
  return input.arguments.find((word) => isServerAddress(word)) ?? null
}

/**
 * Runs it on the server that `word` means, and prints what it printed. Answers its exit code. Throws `cli.no-shell`, and as
 * `connectServer` does.
 */
export async function runThere(word: string, there: There): Promise<number> {
  const { address, app } = parseServerAddress(word)
  using connection = await connectServer(address)
  const signal = new AbortController().signal
  const server = await lookAtServer(connection, signal)
  if (server === null || server.version === null) throw noShell(connection, server)
  const { needs, typed } = there
  if (needs !== null && !server.programs.has(needs.program)) {
    note(`${connection.place} lacks ${needs.program}: the Debian package ${needs.name} is installed there`)
    await installDebian({ connection, server, signal }, [needs.name])
  }
  const args = wordsOf(there, there.namesApp ? (app ?? (await onlyApp(connection))) : null)
  const input = typed === undefined ? {} : { input: Readable.from([typed]) }
  const { code, stdout, stderr } = await connection.run(script, { args, sudo: !server.root, ...input })
  process.stderr.write(stderr)
  process.stdout.write(stdout)
  return code
}

/** The same words, with the app in the place of the address. */
function wordsOf({ command, input }: There, app: string | null): readonly string[] {
  const words = input.arguments.flatMap((word) => (isServerAddress(word) ? (app === null ? [] : [app]) : [word]))
  const options = Object.entries(command.options).flatMap(([name, { type, multiple }]) => {
    if (type === 'boolean') return input.flag(name) ? [`--${name}`] : []
    const values = multiple === true ? input.texts(name) : [input.text(name)].filter((value) => value !== null)
    return values.map((value) => `--${name}=${value}`)
  })
  return [command.name, ...words, ...options, ...(input.json ? ['--json'] : [])]
}

/** The one app that runs there; null where that is not clear: the command says so itself then. */
async function onlyApp(connection: Connection): Promise<string | null> {
  try {
    const [only, ...more] = (await (await operatorOf(connection)).platform()).apps
    return only === undefined || more.length > 0 ? null : only.app
  } catch (error) {
    if (!isSteadError(error)) throw error
    return null
  }
}

function noShell({ place }: Connection, server: ServerState | null): SteadError {
  return new SteadError({
    code: 'cli.no-shell',
    message:
      server === null
        ? `the key opens the stead serve of ${place}, and no shell, and backups are made by a command there`
        : `there is no Stead on ${place}`,
    hint:
      server === null ? 'Use a key that may log in as root, or with sudo.' : `Bring it: stead deploy ssh://${place}`,
  })
}
