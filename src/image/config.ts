/**
 * What an image says of its program, and what becomes of it here. Pure.
 *
 * Invariant: what the part says comes before what the image says; an image runs as root only when the part says so.
 */
import { z } from 'zod'
import { SteadError } from '../base/index.ts'
import { isDigest, type Digest } from './digest.ts'
import { badDocument, readJson, shaped, type Platform } from './documents.ts'

/** What an image's configuration says, defaults filled in. */
export interface ImageConfig {
  readonly platform: Platform
  /** Digests of the layers without compression, the lowest first. */
  readonly diffIds: readonly Digest[]
  readonly entrypoint: readonly string[]
  readonly cmd: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** Absolute. */
  readonly workdir: string
  /** As written: name or id, and a group after a colon; empty for root. */
  readonly user: string
  /** Ports of TCP, in order. */
  readonly ports: readonly number[]
  /** Absolute paths, sorted. */
  readonly volumes: readonly string[]
  readonly stopSignal: string | null
  readonly healthcheck: Healthcheck | null
}

/** A command that says by its exit whether the program is well; times in milliseconds. */
export interface Healthcheck {
  /** With a shell in front where the image says so. */
  readonly command: readonly string[]
  readonly intervalMs: number
  readonly timeoutMs: number
}

const texts = z.array(z.string().max(131_072)).max(10_000).nullish()
const marks = z.record(z.string().max(4096), z.unknown()).nullish()
const shape = z.object({
  architecture: z.string().max(100),
  os: z.string().max(100),
  variant: z.string().max(100).optional(),
  rootfs: z.object({ type: z.literal('layers'), diff_ids: z.array(z.string()) }),
  config: z
    .object({
      User: z.string().max(1000).nullish(),
      Env: texts,
      Entrypoint: texts,
      Cmd: texts,
      WorkingDir: z.string().max(4096).nullish(),
      ExposedPorts: marks,
      Volumes: marks,
      StopSignal: z.string().max(100).nullish(),
      Healthcheck: z.object({ Test: texts, Interval: z.number().nullish(), Timeout: z.number().nullish() }).nullish(),
    })
    .nullish(),
})

const volumesMax = 32
const defaultIntervalMs = 30_000
const nanosecondsPerMs = 1_000_000

/** Throws `image.bad-document`. */
export function parseConfig(bytes: Uint8Array, layers: number, what: string): ImageConfig {
  const { architecture, os, variant, rootfs, config } = shaped(shape, readJson(bytes, what), what)
  const diffIds = rootfs.diff_ids.map((text) => {
    if (!isDigest(text)) throw badDocument(what, `${JSON.stringify(text.slice(0, 100))} is no digest of sha256`)
    return text
  })
  if (diffIds.length !== layers)
    throw badDocument(what, `it names ${diffIds.length} layers, and its manifest ${layers}`)
  const volumes = Object.keys(config?.Volumes ?? {}).sort()
  if (volumes.length > volumesMax) throw badDocument(what, `it names more than ${volumesMax} volumes`)
  return {
    platform: variant === undefined || variant === '' ? { os, architecture } : { os, architecture, variant },
    diffIds,
    entrypoint: config?.Entrypoint ?? [],
    cmd: config?.Cmd ?? [],
    env: environment(config?.Env ?? []),
    workdir: cleanPath(config?.WorkingDir || '/', what),
    user: config?.User ?? '',
    ports: Object.keys(config?.ExposedPorts ?? {})
      .map((port) => /^(\d{1,5})(?:\/tcp)?$/.exec(port)?.[1])
      .filter((port) => port !== undefined)
      .map(Number)
      .sort((a, b) => a - b),
    volumes: volumes.map((path) => cleanPath(path, what)),
    stopSignal: stopSignalOf(config?.StopSignal ?? '', what),
    healthcheck: healthcheckOf(config?.Healthcheck ?? null),
  }
}

/** Names that no shell knows are left out: nothing could set them. */
function environment(entries: readonly string[]): Readonly<Record<string, string>> {
  const pairs = entries.map((entry): readonly [string, string] => {
    const equals = entry.indexOf('=')
    return equals === -1 ? [entry, ''] : [entry.slice(0, equals), entry.slice(equals + 1)]
  })
  return Object.fromEntries(
    pairs.filter(([name, value]) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !value.includes('\0')),
  )
}

function cleanPath(path: string, what: string): string {
  const names = path.split('/').filter((name) => name !== '' && name !== '.')
  if (!path.startsWith('/') || names.includes('..') || /[\0\n]/.test(path))
    throw badDocument(what, `${JSON.stringify(path.slice(0, 200))} is no absolute path`)
  return `/${names.join('/')}`
}

const signals: readonly string[] = ['HUP', 'INT', 'QUIT', 'KILL', 'USR1', 'USR2', 'TERM', 'WINCH']
const signalNumbers: Readonly<Record<string, string>> = {
  1: 'HUP',
  2: 'INT',
  3: 'QUIT',
  9: 'KILL',
  10: 'USR1',
  12: 'USR2',
  15: 'TERM',
  28: 'WINCH',
}

function stopSignalOf(text: string, what: string): string | null {
  if (text === '') return null
  const bare = signalNumbers[text] ?? text.toUpperCase().replace(/^SIG/, '')
  if (signals.includes(bare)) return `SIG${bare}`
  throw badDocument(what, `its stop signal ${JSON.stringify(text)} is none of ${signals.join(', ')}`)
}

function healthcheckOf(
  found: {
    Test?: string[] | null | undefined
    Interval?: number | null | undefined
    Timeout?: number | null | undefined
  } | null,
): Healthcheck | null {
  const [form, ...words] = found?.Test ?? []
  const command = form === 'CMD' ? words : form === 'CMD-SHELL' ? ['/bin/sh', '-c', words.join(' ')] : []
  if (command.length === 0) return null
  const ms = (nanoseconds: number | null | undefined): number => Math.round((nanoseconds ?? 0) / nanosecondsPerMs)
  return {
    command,
    intervalMs: ms(found?.Interval) || defaultIntervalMs,
    timeoutMs: ms(found?.Timeout) || defaultIntervalMs,
  }
}

/** What a part says of the program of its image. */
export interface ProgramWish {
  /** In the place of entry point and command; empty: those of the image. */
  readonly run: readonly string[]
  /** In the place of the image's user; null: that of the image. */
  readonly user: string | null
  /** Whether the image's users are kept apart; then it may start as root, of its own files alone. */
  readonly severalUsers?: boolean
}

/** The command line. Throws `image.no-program`. */
export function commandOf({ entrypoint, cmd }: ImageConfig, { run }: ProgramWish, what: string): readonly string[] {
  const argv = run.length > 0 ? run : [...entrypoint, ...cmd]
  if (argv.length > 0 && argv[0] !== '') return argv
  throw new SteadError({
    code: 'image.no-program',
    message: `${what} names no program to run.`,
    hint: "Say which: run: ['/usr/bin/server'].",
  })
}

/** What can be told before layers are unpacked. Throws `image.no-program`, `image.asks-for-root`. */
export function checkProgram(config: ImageConfig, wish: ProgramWish, what: string): void {
  commandOf(config, wish, what)
  const [name] = config.user.split(':')
  const asks = ['', 'root', '0'].includes(name ?? '')
  if (asks && wish.user === null && wish.severalUsers !== true) throw asksForRoot(config, what)
}

export interface ImageUser {
  readonly uid: number
  readonly gid: number
  /** Null where the image does not know one. */
  readonly home: string | null
}

/** Text of the image's own files, null where it has none. */
export interface UserFiles {
  readonly passwd: string | null
  readonly group: string | null
}

/**
 * The user that the program runs as inside. Throws `image.asks-for-root` when that would be root and the part has not said so,
 * `image.unknown-user`.
 */
export function userOf({ user }: ImageConfig, wish: ProgramWish, files: UserFiles, what: string): ImageUser {
  const asked = wish.user ?? (user === '' ? 'root' : user)
  const [name = '', groupName] = asked.split(':')
  const found = lookUp(name, files.passwd, what)
  const gid = groupName === undefined || groupName === '' ? found.gid : lookUp(groupName, files.group, what).uid
  if (found.uid === 0 && wish.user === null && wish.severalUsers !== true) throw asksForRoot({ user }, what)
  return { ...found, gid }
}

function asksForRoot({ user }: Pick<ImageConfig, 'user'>, what: string): SteadError {
  return new SteadError({
    code: 'image.asks-for-root',
    message: `${what} asks to run as root${user === '' ? ', for it names no user' : ''}.`,
    hint: "Name a user of the image (user: 'nobody'); say user: 'root', root of its own files and of nothing else; or users: 'image' for one that starts as root and becomes another user.",
  })
}

/** An entry of passwd or group by its name or number: both have the number in the third field. */
function lookUp(asked: string, file: string | null, what: string): ImageUser {
  const lines = (file ?? '').split('\n').map((line) => line.split(':'))
  const isNumber = /^\d{1,10}$/.test(asked)
  const line = lines.find(([name, , id]) => name === asked || (isNumber && id === asked))
  const uid = Number(line?.[2] ?? (isNumber ? asked : asked === 'root' ? '0' : Number.NaN))
  const gid = Number(line?.[3] ?? 0)
  if (Number.isInteger(uid) && uid >= 0 && uid < 2 ** 32 - 1) {
    return {
      uid,
      gid: Number.isInteger(gid) && gid >= 0 ? gid : 0,
      home: line?.[5]?.startsWith('/') === true ? line[5] : null,
    }
  }
  throw new SteadError({
    code: 'image.unknown-user',
    message: `${what} has no user or group ${JSON.stringify(asked)}.`,
    hint: 'Name one that stands in its /etc/passwd or /etc/group, or give the number.',
  })
}
