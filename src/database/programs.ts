/**
 * The programs that run in the resource's sandbox, as its own user: shell texts and the server itself. The platform never
 * writes into the data directory with its own rights, so a program inside cannot lead it astray with a link.
 *
 * Invariants: `pgdata` is there whole or not at all (it is made under another name and renamed); at most one server runs
 * on a data directory, held by a lock on a file (a lock of the kernel, so it holds across sandboxes, where process ids
 * say nothing).
 */
import { SteadError } from '../base/index.ts'
import type { ProviderProgram, ProviderServer } from '../provider/index.ts'
import { archiveEnv, layOutText } from './archive.ts'
import type { LogLimits } from './archive.ts'
import type { PostgresBinaries } from './binaries.ts'
import { adminRole } from './names.ts'

/** Port of consumers, and the number in the socket's name. */
export const defaultPort = 5432

const baseEnv: Readonly<Record<string, string>> = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }

/** The kernel's limit for the path of a socket, less the one byte that ends it; the smallest among the systems we run on. */
const socketPathBytesMax = 103

/** Exit code of a program that found the data directory in use. */
export const inUseCode = 75

/** Takes the lock of the data directory, waiting for a dying predecessor; without `flock` PostgreSQL's own check remains. */
const takeLock = `exec 9>>"$STEAD_DATA/server.lock"
if command -v flock >/dev/null; then
  flock -w 10 9 || { echo "another server runs on $STEAD_DATA" >&2; exit ${inUseCode}; }
fi
`

const inspectText = `cd "$STEAD_DATA" || exit 1
[ -e pgdata ] || { echo stead:absent; exit 0; }
for file in PG_VERSION global/pg_control global/pg_filenode.map base/1 pg_wal pg_xact postgresql.conf; do
  [ -e "pgdata/$file" ] || echo "stead:missing $file"
done
[ ! -e pgdata/PG_VERSION ] || echo "stead:version $(head -c 20 pgdata/PG_VERSION)"
`

const initText = `set -eu
umask 077
cd "$STEAD_DATA"
password=$STEAD_PASSWORD
unset STEAD_PASSWORD
put() { printf '%s' "$2" >"$1.new"; sync "$1.new"; mv "$1.new" "$1"; }
if [ ! -e pgdata ]; then
  ${takeLock.replaceAll('\n', '\n  ')}
fi
if [ ! -e pgdata ]; then
  rm -rf pgdata.new
  printf '%s\\n' "$password" | "$@" -D pgdata.new
  printf "\\ninclude 'stead.conf'\\n" >>pgdata.new/postgresql.conf
  put pgdata.new/stead.conf "$STEAD_SETTINGS"
  sync pgdata.new/postgresql.conf pgdata.new
  mv pgdata.new pgdata
  sync .
fi
put pgdata/stead.conf "$STEAD_SETTINGS"
put pgdata/pg_hba.conf "$STEAD_ACCESS"
sync pgdata
`

const recoverText = `set -eu
${takeLock}
cd "$STEAD_DATA"
rm -rf pgdata.new
rm -f pgdata/postmaster.pid pgdata/postmaster.opts
`

const followText = `set -eu
cd "$STEAD_DATA"
: >pgdata/recovery.signal
sync pgdata/recovery.signal pgdata
`

const serveText = `${takeLock}
command -v flock >/dev/null && rm -f "$STEAD_DATA/pgdata/postmaster.pid" "$STEAD_SOCKET" "$STEAD_SOCKET.lock"
exec "$@"
`

/** Looks at a data directory: says `stead:absent`, `stead:version N` and `stead:missing FILE`. Changes nothing. */
export function inspectProgram(dataDir: string): ProviderProgram {
  return shell(inspectText, { STEAD_DATA: dataDir }, [], { writes: [dataDir], timeoutMs: 60_000 })
}

/** Makes the data directory when it is missing, and writes the settings in any case. */
export function initProgram(
  binaries: PostgresBinaries,
  dataDir: string,
  adminPassword: string,
  settings: string,
  access: string,
): ProviderProgram {
  // From 17 on PostgreSQL has its own C.UTF-8, which no upgrade of the system's C library can change under an index.
  const locale =
    Number(binaries.version) >= 17
      ? ['--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C']
      : ['--locale=C.UTF-8', '--lc-messages=C']
  const initdb = [
    `${binaries.binDir}/initdb`,
    `--username=${adminRole}`,
    '--pwfile=/dev/stdin',
    '--auth=scram-sha-256',
    '--data-checksums',
    '--encoding=UTF8',
    ...locale,
  ]
  const env = {
    STEAD_DATA: dataDir,
    STEAD_PASSWORD: adminPassword,
    STEAD_SETTINGS: settings,
    STEAD_ACCESS: access,
  }
  return shell(initText, env, initdb, { reads: binaries.reads, writes: [dataDir], timeoutMs: 120_000 })
}

/** Removes what a server left behind that was not stopped. Ends with `inUseCode` when a server runs there. */
export function recoverProgram(dataDir: string): ProviderProgram {
  return shell(recoverText, { STEAD_DATA: dataDir }, [], { writes: [dataDir], timeoutMs: 60_000 })
}

/** Has the next server on the data go along a log, as the settings that it is started with say. */
export function followProgram(dataDir: string): ProviderProgram {
  return shell(followText, { STEAD_DATA: dataDir }, [], { writes: [dataDir], timeoutMs: 60_000 })
}

/** Lays out the log of a running server in `dataDir`. `open`: the names of the files that are still written to. */
export function layOutProgram(dataDir: string, open: readonly string[]): ProviderProgram {
  return shell(layOutText, { STEAD_DATA: dataDir }, open, { writes: [dataDir], timeoutMs: 120_000 })
}

/** Which server to run, and how it differs from the others of its resource. */
export interface ServerPlace {
  readonly dataDir: string
  readonly socketDir: string
  readonly port: number
  readonly memoryBytes: number
  /** How much of its log is kept. */
  readonly log: LogLimits
  /** Settings on top of those in the data directory. */
  readonly settings: Readonly<Record<string, string>>
  /** Directories it reads, beside its own. */
  readonly reads?: readonly string[]
}

/** The server on a data directory. Throws `database.socket-path-too-long`. */
export function serverProgram(binaries: PostgresBinaries, place: ServerPlace): ProviderServer {
  const socketPath = socketPathOf(place.socketDir, place.port)
  const settings = { unix_socket_directories: place.socketDir, port: `${place.port}`, ...place.settings }
  const postgres = [
    `${binaries.binDir}/postgres`,
    '-D',
    `${place.dataDir}/pgdata`,
    ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`]),
  ]
  const { argv, env, reads, writes } = shell(
    serveText,
    { STEAD_DATA: place.dataDir, STEAD_SOCKET: socketPath, ...archiveEnv(place.log) },
    postgres,
    { reads: [...binaries.reads, ...(place.reads ?? [])], writes: [place.dataDir], timeoutMs: 0 },
  )
  // SIGINT is PostgreSQL's fast shutdown: it ends the sessions and writes a checkpoint.
  const stop = { stopSignal: 'SIGINT', stopTimeoutMs: 30_000 } as const
  return { argv, env, reads, writes, memoryBytes: place.memoryBytes, socketPath, ...stop }
}

/** Path of a server's socket. Throws `database.socket-path-too-long` when the kernel would not take it. */
export function socketPathOf(socketDir: string, port: number): string {
  const path = `${socketDir}/.s.PGSQL.${port}`
  const bytes = Buffer.byteLength(path)
  if (bytes <= socketPathBytesMax) return path
  throw new SteadError({
    code: 'database.socket-path-too-long',
    message: `the path of the database's socket has ${bytes} bytes, and ${socketPathBytesMax} is the most: ${path}`,
    hint: 'Use a shorter directory for sockets.',
  })
}

function shell(
  text: string,
  env: Readonly<Record<string, string>>,
  args: readonly string[],
  rest: { readonly reads?: readonly string[]; readonly writes: readonly string[]; readonly timeoutMs: number },
): ProviderProgram {
  return {
    argv: ['/bin/sh', '-c', text, 'stead', ...args],
    env: { ...baseEnv, ...env },
    reads: rest.reads ?? [],
    writes: rest.writes,
    timeoutMs: rest.timeoutMs,
  }
}
