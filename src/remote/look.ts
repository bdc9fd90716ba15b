/** What a server is: one script that changes nothing, and how its lines are read. The reading is pure. */
import { SteadError } from '../base/index.ts'
import { type Connection, noSudo } from './connection.ts'

export interface ServerState {
  /** As in `Debian GNU/Linux 12 (bookworm)`. */
  readonly os: string
  /** As Node says it: `linux`, `x64`. */
  readonly platform: string
  readonly arch: string
  /** Whether the user is root; else everything goes by sudo. */
  readonly root: boolean
  readonly systemd: boolean
  /** Where Stead lies there. */
  readonly prefix: string
  /** Free bytes where Stead and its data lie, the lesser of both. */
  readonly freeBytes: number
  /** Of the Stead in force there; null when there is none. */
  readonly version: string | null
  /** Names the very files of it. */
  readonly build: string | null
  /** Whether its daemon has a socket, which is no proof that it runs. */
  readonly socket: boolean
  /** The programs of `wantedPrograms` that are there. */
  readonly programs: ReadonlySet<string>
}

/** Programs, and a library by its name, that a server needs, or is better for. */
export const wantedPrograms = [
  'tar',
  'gzip',
  'flock',
  'sha256sum',
  'setsid',
  'apt-get',
  'bwrap',
  's6-log',
  'mkfs.btrfs',
  'python3',
  'restic',
  'libatomic.so.1',
] as const

const script = `PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin
p=\${STEAD_PREFIX:-/opt/stead}
state=\${STEAD_STATE:-/var/lib/stead}
run=\${STEAD_RUN:-/run/stead}
say() { printf '%s=%s\\n' "$1" "$2"; }
free() { d=$1; while [ ! -d "$d" ]; do d=$(dirname "$d"); done; df -Pk "$d" | tail -n 1 | tr -s ' ' | cut -d ' ' -f 4; }
say kernel "$(uname -s)"
say machine "$(uname -m)"
say os "$(. /etc/os-release 2>/dev/null; printf %s "\${PRETTY_NAME:-unknown}")"
say uid "$(id -u)"
[ "$(id -u)" = 0 ] || { sudo -n true 2>/dev/null && say sudo yes; }
for m in /lib/ld-musl-*; do [ -e "$m" ] && say musl yes; done
[ -d /run/systemd/system ] && [ -z "\${STEAD_PREFIX:-}" ] && say systemd yes
say prefix "$p"
say free "$(free "$p")"
say free "$(free "$state")"
[ -f "$p/current/package.json" ] && say version "$(sed -n 's/^ *"version": *"\\([^"]*\\)".*/\\1/p' "$p/current/package.json")"
[ -f "$p/current/.build" ] && say build "$(cat "$p/current/.build")"
[ -S "$run/serve/operator.sock" ] && say socket yes
for t in "$@"; do
  case $t in
    *.so.*) ldconfig -p 2>/dev/null | grep -q "$t" && say program "$t" ;;
    *) command -v "$t" >/dev/null && say program "$t" ;;
  esac
done
true`

/**
 * Looks at a server. Null: the key runs no commands there, as those that `stead access add` let in. Throws
 * `remote.no-sudo`, `remote.strange-server`, and what `run` does.
 */
export async function lookAtServer(connection: Connection, signal: AbortSignal): Promise<ServerState | null> {
  const { code, stdout, stderr } = await connection.run(script, { args: wantedPrograms, signal })
  // What it starts instead ends without a word when nothing is asked of it.
  if (code === 0 && stdout === '') return null
  if (code !== 0) {
    throw new SteadError({
      code: 'remote.strange-server',
      message: `${connection.place} runs no commands for this key (code ${code}): ${stderr.trim().split('\n').at(-1) ?? ''}`,
      hint: 'See what `ssh HOST uname` says there.',
    })
  }
  return readServerState(stdout, connection.place)
}

/** Reads what the script said. Throws `remote.no-sudo`, `remote.strange-server`. */
export function readServerState(said: string, place: string): ServerState {
  const lines = said
    .split('\n')
    .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const)
  const all = (name: string): string[] => lines.flatMap(([key, value]) => (key === name && value !== '' ? [value] : []))
  const one = (name: string): string | null => all(name)[0] ?? null
  if (one('kernel') === null) {
    throw new SteadError({
      code: 'remote.strange-server',
      message: `${place} does not answer as a server that runs commands`,
      hint: 'See what `ssh HOST uname` says there: a greeting or a forced command may stand in the way.',
    })
  }
  const root = one('uid') === '0'
  if (!root && one('sudo') === null) throw noSudo(place)
  const machine = one('machine') ?? ''
  return {
    os: one('os') ?? 'unknown',
    platform: `${(one('kernel') ?? '').toLowerCase()}${one('musl') === null ? '' : ' with musl'}`,
    arch: { x86_64: 'x64', aarch64: 'arm64' }[machine] ?? machine,
    root,
    systemd: one('systemd') !== null,
    prefix: one('prefix') ?? '/opt/stead',
    freeBytes: Math.min(...all('free').map((text) => Number(text) * 1024)),
    version: one('version'),
    build: one('build'),
    socket: one('socket') !== null,
    programs: new Set(all('program')),
  }
}
