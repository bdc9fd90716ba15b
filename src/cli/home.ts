/**
 * Where the platform keeps things on this machine, for `up` of the app in a directory and for the daemon:
 *
 *   state  /var/lib/stead (root) or ~/.local/state/stead   bundles/  apps/<name>-<digest of the directory>/  serve/
 *   run    /run/stead (root) or the user's runtime directory         sockets; paths stay short enough for them
 *
 * STEAD_STATE and STEAD_RUN override them. Invariant: data of another format version is never touched.
 */
import { createHash } from 'node:crypto'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  realpathSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { messageOf, SteadError, systemCodeOf } from '../base/index.ts'
import { formatBytes } from '../model/index.ts'

/** Version of everything under the state directory. */
const formatVersion = 1

/** Free space below which an app is not started: room for the programs of a database and for what it writes at first. */
const freeBytesMin = 256 * 1024 ** 2

export interface Home {
  readonly stateRoot: string
  /** Bundles and runtimes, shared by all apps. */
  readonly bundlesDir: string
  /** State of this platform: of the one app, or of the daemon. */
  readonly appDir: string
  readonly storePath: string
  readonly agentDir: string
  readonly runDir: string
  readonly controlSocket: string
  readonly operatorSocket: string
}

/** The places for the app in `directory` (which must exist). Makes nothing. */
export function homeOf(directory: string): Home {
  const real = realpathSync(directory)
  const digest = createHash('sha256').update(real).digest('hex').slice(0, 8)
  const key = `${basename(real)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 24)}-${digest}`
  return homeNamed(join('apps', key), key)
}

function homeNamed(place: string, key: string): Home {
  const stateRoot = process.env['STEAD_STATE'] ?? defaultState()
  const appDir = join(stateRoot, place)
  const runDir = join(process.env['STEAD_RUN'] ?? defaultRun(), key)
  return {
    stateRoot,
    bundlesDir: join(stateRoot, 'bundles'),
    appDir,
    storePath: join(appDir, 'store.sqlite'),
    agentDir: join(appDir, 'agent'),
    runDir,
    controlSocket: join(runDir, 'control.sock'),
    operatorSocket: join(runDir, 'operator.sock'),
  }
}

/** Bundles and runtimes of this machine. */
export function bundlesDir(): string {
  return join(process.env['STEAD_STATE'] ?? defaultState(), 'bundles')
}

/** The places of every platform that has kept something here. */
export function allHomes(): Home[] {
  const stateRoot = process.env['STEAD_STATE'] ?? defaultState()
  const apps = join(stateRoot, 'apps')
  const keys = existsSync(apps) ? readdirSync(apps) : []
  const homes = [...keys.map((key) => homeNamed(join('apps', key), key)), daemonHome()]
  return homes.filter(({ appDir }) => existsSync(appDir))
}

/** The places of `stead serve` on this machine, which runs any number of apps. */
export function daemonHome(): Home {
  return homeNamed('serve', 'serve')
}

/** Where `stead serve` of this machine is asked. */
export function daemonSocket(): string {
  return daemonHome().operatorSocket
}

function isRoot(): boolean {
  return process.getuid?.() === 0
}

function defaultState(): string {
  return isRoot()
    ? '/var/lib/stead'
    : join(process.env['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state'), 'stead')
}

function defaultRun(): string {
  if (isRoot()) return '/run/stead'
  return process.env['XDG_RUNTIME_DIR'] === undefined
    ? join(tmpdir(), `stead-${process.getuid?.() ?? 'user'}`)
    : join(process.env['XDG_RUNTIME_DIR'], 'stead')
}

/** Refuses a disk on which an app would only half start, before anything is written to it. Throws `cli.disk-full`. */
export function checkSpace(home: Home): void {
  let place = home.appDir
  while (!existsSync(place) && place !== dirname(place)) place = dirname(place)
  const { bavail, bsize } = statfsSync(place)
  const freeBytes = bavail * bsize
  if (freeBytes >= freeBytesMin) return
  throw new SteadError({
    code: 'cli.disk-full',
    message: `the disk of ${home.stateRoot} has ${formatBytes(freeBytes)} free, and an app needs ${formatBytes(freeBytesMin)} to start`,
    hint: 'Make room, or set STEAD_STATE to a directory on a larger disk. Nothing was started.',
    retry: 'later',
  })
}

/** Makes the directories and checks the format. Throws `cli.newer-state`, `cli.no-state-directory`. */
export function prepareHome(home: Home): void {
  try {
    // Others may pass through, to what a sandbox is given by name, but not look around.
    for (const directory of [home.stateRoot, dirname(home.appDir), home.appDir, home.agentDir, home.runDir]) {
      mkdirSync(directory, { recursive: true, mode: 0o711 })
    }
  } catch (cause) {
    throw new SteadError({
      code: 'cli.no-state-directory',
      message: `the state directory cannot be made: ${messageOf(cause)}`,
      hint: 'Set STEAD_STATE and STEAD_RUN to directories you may write.',
      cause,
    })
  }
  for (const directory of [dirname(home.runDir), home.runDir]) refuseForeign(directory)
  const path = join(home.appDir, 'format.json')
  const found = readVersion(path)
  if (found === null) writeFileSync(path, `${JSON.stringify({ version: formatVersion })}\n`)
  else if (Number.isNaN(found)) {
    throw new SteadError({
      code: 'cli.damaged-state',
      message: `${path} is damaged: it does not say which version of Stead wrote the directory`,
      hint: `When it was this one, write {"version":${formatVersion}} into it; its data lies beside it.`,
    })
  } else if (found !== formatVersion) {
    throw new SteadError({
      code: 'cli.newer-state',
      message: `${home.appDir} was written by another version of Stead (format ${found}, this one reads ${formatVersion})`,
      hint: 'Run the version that wrote it. Nothing was changed.',
    })
  }
}

/** Whoever may write where the sockets are could put his own in their place. Throws `cli.unsafe-run-directory`. */
function refuseForeign(directory: string): void {
  const found = lstatSync(directory)
  const own = process.getuid === undefined || found.uid === process.getuid()
  if (found.isDirectory() && own && (found.mode & 0o022) === 0) return
  throw new SteadError({
    code: 'cli.unsafe-run-directory',
    message: `${directory} belongs to another user or may be written by others, and sockets lie there`,
    hint: 'Set STEAD_RUN to a directory of your own that only you may write.',
  })
}

function readVersion(path: string): number | null {
  try {
    const parsed: unknown = JSON.parse(readFileSync(path, 'utf8'))
    const version = typeof parsed === 'object' && parsed !== null && 'version' in parsed ? parsed.version : undefined
    return typeof version === 'number' ? version : Number.NaN
  } catch (cause) {
    if (systemCodeOf(cause) === 'ENOENT') return null
    return Number.NaN
  }
}
