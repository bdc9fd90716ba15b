/**
 * Where the platform keeps things on this machine, for `up` of the app in a directory and for the daemon:
 *
 *   state  /var/lib/stead (root) or ~/.local/state/stead   bundles/  images/  certificates/  node.json  apps/<name>-<digest of the directory>/
 *                                                          serve/  keys/<the same>/, apart from what they open
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
  renameSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { messageOf, SteadError, systemCodeOf } from '../base/index.ts'

/** Version of everything under the state directory. 1: secrets in plain text in the records; they are moved when control starts. */
const formatVersion = 2
const formatVersionOldest = 1

/** Free space below which an app is not started: room for the programs of a database and for what it writes at first. */
const freeBytesMin = 256 * 1024 ** 2

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / 1024 ** 2)}MiB`
}

export interface Home {
  /** Names this platform on the machine, where several may be. */
  readonly key: string
  readonly stateRoot: string
  /** Bundles and runtimes, shared by all apps. */
  readonly bundlesDir: string
  /** Authorities, accounts and certificates of the way in, shared by all apps. */
  readonly certificatesDir: string
  /** What the machine's owner says that jobs may have of it. */
  readonly nodeFile: string
  /** State of this platform: of the one app, or of the daemon. */
  readonly appDir: string
  readonly storePath: string
  /** Who is logged in to the dashboard. */
  readonly sessionsPath: string
  readonly agentDir: string
  /** The keys of this app's secrets: apart from what they open, so that a copy of the one is not a copy of the other. */
  readonly keysDir: string
  readonly vaultKeyPath: string
  readonly nodeKeyPath: string
  /** The record of who opened which secret. */
  readonly secretLogPath: string
  readonly runDir: string
  readonly controlSocket: string
  readonly operatorSocket: string
}

/** The places for the app in `directory` (which must exist). Makes nothing. */
export function homeOf(directory: string): Home {
  const real = realpathSync(directory)
  const name = basename(real)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 24)
  const key = `${name}-${digestOf(real)}`
  return homeNamed({ key, place: join('apps', key), run: key })
}

function digestOf(path: string): string {
  return createHash('sha256').update(path).digest('hex').slice(0, 8)
}

function homeNamed({ key, place, run }: { key: string; place: string; run: string }): Home {
  const stateRoot = stateRootHere()
  const appDir = join(stateRoot, place)
  const keysDir = join(stateRoot, 'keys', key)
  const runDir = join(process.env['STEAD_RUN'] ?? defaultRun(), run)
  return {
    key,
    stateRoot,
    bundlesDir: join(stateRoot, 'bundles'),
    certificatesDir: join(stateRoot, 'certificates'),
    nodeFile: join(stateRoot, 'node.json'),
    appDir,
    storePath: join(appDir, 'store.sqlite'),
    sessionsPath: join(appDir, 'sessions.json'),
    agentDir: join(appDir, 'agent'),
    keysDir,
    vaultKeyPath: join(keysDir, 'vault.key'),
    nodeKeyPath: join(keysDir, 'node.key'),
    secretLogPath: join(appDir, 'secrets.log'),
    runDir,
    controlSocket: join(runDir, 'control.sock'),
    operatorSocket: join(runDir, 'operator.sock'),
  }
}

/** Bundles and runtimes of this machine. */
export function bundlesDir(): string {
  return join(stateRootHere(), 'bundles')
}

/** Images of this machine: as they came, and unpacked. */
export function imagesDir(): string {
  return join(stateRootHere(), 'images')
}

/** The key of this machine's backups, apart from what they are of. */
export function backupKeyPath(): string {
  return join(stateRootHere(), 'keys', 'backup.key')
}

/** What is known here of backups and their proofs. */
export function backupNotesPath(): string {
  return join(stateRootHere(), 'backups.json')
}

/** What was done by itself for the backups of a platform's apps. */
export function backupCoursePath({ appDir }: Pick<Home, 'appDir'>): string {
  return join(appDir, 'backup-course.json')
}

/** The places of every platform that has kept something here. */
export function allHomes(): Home[] {
  const apps = join(stateRootHere(), 'apps')
  const keys = existsSync(apps) ? readdirSync(apps) : []
  const homes = [...keys.map((key) => homeNamed({ key, place: join('apps', key), run: key })), daemonHome()]
  return homes.filter(({ appDir }) => existsSync(appDir))
}

/** The places of `stead serve` on this machine, which runs any number of apps. */
export function daemonHome(): Home {
  return homeNamed({ key: `serve-${digestOf(stateRootHere())}`, place: 'serve', run: 'serve' })
}

/** Where `stead serve` of this machine is asked. */
export function daemonSocket(): string {
  return daemonHome().operatorSocket
}

/**
 * Where `stead serve` is asked by who has a token: the daemon of this user, where there is one; else the one of the
 * machine.
 */
export function peopleSocket(): string {
  const own = join(dirname(daemonSocket()), 'people.sock')
  const shared = '/run/stead/serve/people.sock'
  return isRoot() || existsSync(own) || !existsSync(shared) ? own : shared
}

function isRoot(): boolean {
  return process.getuid?.() === 0
}

function stateRootHere(): string {
  return process.env['STEAD_STATE'] ?? defaultState()
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
    message: `the disk of ${home.stateRoot} has ${mebibytes(freeBytes)} free, and an app needs ${mebibytes(freeBytesMin)} to start`,
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
  if (found === null) writeVersion(path)
  else if (Number.isNaN(found)) {
    throw new SteadError({
      code: 'cli.damaged-state',
      message: `${path} is damaged: it does not say which version of Stead wrote the directory`,
      hint: `When it was this one, write {"version":${formatVersion}} into it; its data lies beside it.`,
    })
  } else if (found >= formatVersionOldest && found < formatVersion) {
    // From here on an older release refuses it by name.
    writeVersion(path)
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

/** Replaced whole: several processes of the daemon may come here at once. */
function writeVersion(path: string): void {
  const fresh = `${path}.${process.pid}`
  writeFileSync(fresh, `${JSON.stringify({ version: formatVersion })}\n`)
  renameSync(fresh, path)
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
