/**
 * How Stead gets onto a server: in pieces that each leave it as it was or are done. Under the prefix there:
 *
 *     .incoming/   what is on its way; a sending that was cut off goes on from here
 *     VERSION-BUILD/   one version each, complete or not there
 *     current      a symbolic link to the one in force
 *
 * Invariants: `current` is switched in one step, and back when the daemon does not come up under the new one; the step that
 * switches and starts is one script there, which goes on when the connection ends.
 */
import { createReadStream } from 'node:fs'
import { SteadError } from '../base/index.ts'
import type { Connection, Ended } from './connection.ts'
import type { ServerState } from './look.ts'
import type { SteadPackage } from './package.ts'

/** Times a sending is begun anew when somebody else's came between, or it arrived damaged. */
const sendTriesMax = 3
const pieceBytes = 8 * 1024 ** 2

const place = `set -e
umask 022
PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin
p=\${STEAD_PREFIX:-/opt/stead}
state=\${STEAD_STATE:-/var/lib/stead}
run=\${STEAD_RUN:-/run/stead}
`

const turn = `mkdir -p "$p/.incoming"
cd "$p/.incoming"
exec 9>lock
flock -n 9 || exit 75
`

/** How much of a package has arrived, and whether it is unpacked. $1: build. $2: directory. */
const arrivedScript = `${place}
if [ -d "$p/$2" ]; then echo done; else stat -c %s "$p/.incoming/$1.tar.gz" 2>/dev/null || echo 0; fi`

/**
 * Takes in a piece of a package from standard input. $1: build. $2: bytes that are there. The time is bounded, so that a
 * connection that died unseen does not hold the turn for long.
 */
const receiveScript = `${place}${turn}
for old in *.tar.gz; do case $old in "$1.tar.gz"|"*.tar.gz") ;; *) rm -f "$old" ;; esac; done
[ "$(stat -c %s "$1.tar.gz" 2>/dev/null || echo 0)" = "$2" ] || exit 76
timeout 300 cat >>"$1.tar.gz" || { rm -f "$1.tar.gz"; exit 77; }`

/** Unpacks a package that has arrived whole. $1: build. $2: directory. $3: sha256. */
const unpackScript = `${place}${turn}
trap '' HUP PIPE
rm -rf unpack.*
[ "$(sha256sum "$1.tar.gz" | cut -c 1-64)" = "$3" ] || { rm -f "$1.tar.gz"; exit 76; }
t=unpack.$$
mkdir "$t"
tar -xzf "$1.tar.gz" -C "$t" --no-same-owner || { rm -rf "$t" "$1.tar.gz"; exit 77; }
"$t/bin/stead" help >/dev/null || { rm -rf "$t" "$1.tar.gz"; exit 78; }
rm -rf "$t/.cache"
sync -f "$t" 2>/dev/null || sync
mv -T "$t" "$p/$2"
rm -f "$1.tar.gz"`

/**
 * Switches to a version and starts the daemon, or has the one that runs take the version up; switches back when it does not
 * answer. $1: directory. $2: version. $3: seconds to wait. Then: arguments for serve.
 */
const startScript = `${place}
trap '' HUP PIPE
dir=$1; version=$2; seconds=$3; shift 3
point() { ln -s "$1" "$p/.current.$$"; mv -T "$p/.current.$$" "$p/current"; }
stead="$p/current/bin/stead"
supervisor() { sed -n 's/.*"pid":\\([0-9]*\\).*/\\1/p' "$run/serve/claims/supervisor.json" 2>/dev/null || true; }
answers() { "$stead" status --all --json 2>/dev/null | grep -q "\\"version\\":\\"$1\\""; }
alive() { pid=$(supervisor); [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; }
start() {
  if alive; then kill -HUP "$pid"
  elif [ -d /run/systemd/system ] && [ -z "\${STEAD_PREFIX:-}" ]; then
    [ -f /etc/systemd/system/stead.service ] || "$stead" serve --install "$@" >/dev/null
    systemctl daemon-reload
    systemctl enable --quiet --now stead
  else
    mkdir -p "$state"
    setsid "$stead" serve "$@" </dev/null >>"$state/serve.log" 2>&1 9>&- &
  fi
}
inforce() { [ "$(readlink "$p/current" || true)" = "$dir" ] && alive && answers "$version"; }
now() { date +%s; }
if inforce; then exit 0; fi
mkdir -p "$p/.incoming"
exec 9>"$p/.incoming/lock"
# Whoever has the turn may be doing just this.
flock -w 120 9 || exit 75
if inforce; then exit 0; fi
old=$(readlink "$p/current" || true)
[ "$old" = "$dir" ] || point "$dir"
# For people on the server.
if [ -z "\${STEAD_PREFIX:-}" ] && [ ! -e /usr/local/bin/stead ]; then ln -s "$stead" /usr/local/bin/stead 2>/dev/null || true; fi
start "$@"
began=$(now)
seen=$began
while [ $(($(now) - began)) -lt "$seconds" ]; do
  answers "$version" && exit 0
  # One that ends at once, again and again, will not come up.
  if alive; then seen=$(now); fi
  [ $(($(now) - seen)) -lt 15 ] || break
  sleep 0.2
done
if [ -z "$old" ]; then
  if alive; then kill "$pid"; fi
  rm -f "$p/current"
elif [ "$old" != "$dir" ]; then
  point "$old"
  start "$@" || true
fi
tail -n 5 "$state/serve.log" 2>/dev/null || journalctl -u stead -n 5 --no-pager -o cat 2>/dev/null
exit 78`

/** Names, one a word. */
const packagesScript = `${place}
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >/dev/null
apt-get install -y -qq --no-install-recommends "$@" >/dev/null`

/** Versions that are not in force and not the one before. $1: keep. */
const tidyScript = `${place}${turn}
now=$(readlink "$p/current" || true)
for d in "$p"/*-*/; do
  d=$(basename "$d")
  case $d in "$now"|"$1") ;; *) [ -f "$p/$d/.build" ] && rm -rf "\${p:?}/$d" ;; esac
done
true`

export interface Installing {
  readonly connection: Connection
  readonly server: ServerState
  readonly signal: AbortSignal
}

/** Installs Debian packages. Throws `remote.packages-failed`. */
export async function installDebian(
  { connection, server, signal }: Installing,
  names: readonly string[],
): Promise<void> {
  const ended = await connection.run(packagesScript, { args: names, sudo: !server.root, signal })
  if (ended.code === 0) return
  throw new SteadError({
    code: 'remote.packages-failed',
    message: `${connection.place} could not install ${names.join(', ')}: ${lastLine(ended)}`,
    hint: 'Install them there by hand, or go on without them with --no-packages: what is weaker then is said.',
    retry: 'later',
  })
}

/** Where a version lies under the prefix. */
export function directoryOf(version: string, build: string): string {
  return `${version}-${build}`
}

/**
 * Sends a package and unpacks it; what has arrived is not sent again. Answers how much was sent. Throws `remote.disk-full`,
 * `remote.busy`, `remote.install-failed`.
 */
export async function sendPackage(
  installing: Installing,
  { version, build }: { readonly version: string; readonly build: string },
  { path, sizeBytes, sha256 }: SteadPackage,
  onProgress: (sentBytes: number) => void = () => {},
): Promise<{ readonly sentBytes: number }> {
  const { connection, server, signal } = installing
  const directory = directoryOf(version, build)
  const options = { sudo: !server.root, signal }
  let sentBytes = 0
  for (let tries = 1; ; tries += 1) {
    const arrived = await connection.run(arrivedScript, { ...options, args: [build, directory] })
    if (arrived.code !== 0) throw failed(connection, arrived)
    const said = arrived.stdout.trim()
    if (said === 'done') return { sentBytes }
    let ended: Ended = { code: 0, stdout: '', stderr: '' }
    for (let from = Number(said); from < sizeBytes && ended.code === 0; from += pieceBytes) {
      const end = Math.min(from + pieceBytes, sizeBytes)
      const input = createReadStream(path, { start: from, end: end - 1, highWaterMark: 256 * 1024 })
      ended = await connection.run(receiveScript, { ...options, args: [build, String(from)], input })
      if (ended.code === 0) onProgress((sentBytes += end - from))
    }
    if (ended.code === 0) ended = await connection.run(unpackScript, { ...options, args: [build, directory, sha256] })
    if (ended.code === 0) return { sentBytes }
    if (ended.code !== 76 || tries === sendTriesMax) throw failed(connection, ended)
  }
}

/** Puts a version in force and sees that its daemon answers. Throws `remote.does-not-start`, and then the one before is in force again. */
export async function putInForce(
  { connection, server, signal }: Installing,
  {
    version,
    directory,
    serveArguments,
    waitSeconds,
  }: {
    readonly version: string
    readonly directory: string
    readonly serveArguments: readonly string[]
    readonly waitSeconds: number
  },
): Promise<void> {
  const args = [directory, version, String(waitSeconds), ...serveArguments]
  const ended = await connection.run(startScript, { args, sudo: !server.root, signal })
  if (ended.code === 0) return
  if (ended.code !== 78) throw failed(connection, ended)
  throw new SteadError({
    code: 'remote.does-not-start',
    message: `Stead ${version} did not come up on ${connection.place}`,
    hint: [...ended.stdout.trim().split('\n').slice(-5), 'What was in force before is in force again.']
      .join('\n')
      .trim(),
  })
}

/** Removes versions that are of no use any more: all but the one in force and the one before it. */
export async function tidy({ connection, server, signal }: Installing, before: string | null): Promise<void> {
  await connection.run(tidyScript, { args: [before ?? '-'], sudo: !server.root, signal })
}

function failed(connection: Connection, ended: Ended): SteadError {
  if (ended.code === 75) {
    return new SteadError({
      code: 'remote.busy',
      message: `somebody else is installing on ${connection.place} at this moment`,
      hint: 'Try again when that is over.',
      retry: 'later',
    })
  }
  if (/No space left|Disk quota exceeded/.test(ended.stderr)) {
    return new SteadError({
      code: 'remote.disk-full',
      message: `the disk of ${connection.place} is full`,
      hint: 'Make room there, and run the same command again. What had arrived was taken away.',
      retry: 'later',
    })
  }
  return new SteadError({
    code: 'remote.install-failed',
    message: `installing on ${connection.place} failed with code ${ended.code}: ${lastLine(ended)}`,
    hint: 'What is in force there was not changed.',
  })
}

function lastLine({ stdout, stderr }: Ended): string {
  return (stderr.trim() || stdout.trim()).split('\n').at(-1) || 'it said nothing'
}
