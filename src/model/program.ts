/** What services and jobs have in common: a program that runs. Its options are checked here and become its part of the graph, defaults filled in. */
import { SteadError } from '../base/index.ts'
import { badOption, checkCommand, checkNumber, checkOptions, isRecord, readBytes, show } from './check.ts'
import { readDirectory } from './directory.ts'
import { entriesMax } from './graph.ts'
import type { ImageUse, Limits, Runnable, Tripwire, Use } from './graph.ts'
import { aliasPattern, egressPattern, envNamePattern, envPrefix, imagePattern, imageUserPattern } from './patterns.ts'
import type { Bytes } from './units.ts'
import { readRights } from './rights.ts'
import { describePart, isPart, isService, isUsable } from './values.ts'
import type { UsedPart, UsedParts, Uses } from './values.ts'

/** What services and jobs have in common. */
export interface ProgramOptions {
  /** The program and its arguments. No shell reads it. Needed but where there is an image; then it takes the place of its own. */
  readonly run?: readonly [string, ...string[]]
  /**
   * An image of OCI or Docker as the program, instead of `from`: `oci:HOST/NAME:TAG` or `@sha256:...` of a registry,
   * `oci:./PATH` of a layout, a `docker save` archive or a directory beside the app file, `oci:NAME` of one made by
   * `stead image build`. What it stands for is settled when the app is deployed, and kept in the release.
   */
  readonly image?: `oci:${string}`
  /** The user inside an image, by name or id. Default: that of the image, which must not be root; 'root' is root of its own files alone. */
  readonly user?: string
  /**
   * one: everything in the image belongs to the program's user, the only one that there is. image: its users are kept apart, with
   * the owners of files as the image has them; one that starts as root may give its files away and become another user, as
   * the entry points of many images do. It has no power over anything else. Default one.
   */
  readonly users?: 'one' | 'image'
  /** Whether the program may write into the root of its image; what it writes is in memory and gone with it. Default false. */
  readonly writable?: boolean
  /** Directory of the code, relative to the app file. Default: that of the app file. */
  readonly from?: string
  /** Environment variables, beside those that uses bring. Never secrets: the graph is no secret. */
  readonly env?: Readonly<Record<string, string>>
  /** What the program may reach, by its own names for it. Everything else is closed. */
  readonly use?: Uses
  readonly limits?: LimitOptions
  /**
   * What it may dial outside the app: `host:port`, `*.domain:port` (every name below it), `address:port`,
   * `address/bits:port`. Everything else is refused. Private addresses are dialled only when declared as addresses.
   */
  readonly egress?: readonly `${string}:${number}`[]
  /**
   * What follows when an instance touches a decoy, tries many addresses it was not given, or makes a system call that no
   * honest program makes. record: evidence is kept. freeze: also, it is stopped where it stands and replaced. Default off.
   */
  readonly tripwire?: Tripwire
  /**
   * kernel: each instance runs in a guest with a kernel of its own, which starts a few seconds later and takes about 200 MB
   * more; without virtualisation in the processor it is emulated, ten to twenty times slower. Default sandbox: all on a node
   * share its kernel.
   */
  readonly isolation?: 'sandbox' | 'kernel'
}

/** Every part that runs says what it runs: its program, an image, or a program in an image. */
export type WithProgram =
  | { readonly run: NonNullable<ProgramOptions['run']> }
  | { readonly image: NonNullable<ProgramOptions['image']> }

/** What one instance may take. */
export interface LimitOptions {
  /** Default 512MB. */
  readonly memory?: Bytes
  /** CPU cores, 0.05 to 1024. Default 1. */
  readonly cpus?: number
  /** Processes and threads together, 1 to 32768. Default 128. */
  readonly processes?: number
  /**
   * The rate at which each instance speaks with what it may dial outside: guaranteed, and no more than that. As in '20Mbit/s'.
   * Default: best effort, an equal share of what is left; without a bound where the node's owner has not said what its
   * network carries.
   */
  readonly network?: `${number}${'kbit/s' | 'Mbit/s' | 'Gbit/s'}`
}

const tripwires: readonly Tripwire[] = ['off', 'record', 'freeze']

/** The options every program has. */
export const programOptions: readonly string[] = [
  'run',
  'image',
  'user',
  'users',
  'writable',
  'from',
  'env',
  'use',
  'limits',
  'egress',
  'tripwire',
  'isolation',
]

/** The uses as they stand in the graph, sorted, and the parts behind them. */
function readUses(owner: string, use: unknown): { uses: Use[]; use: UsedParts } {
  if (use === undefined) return { uses: [], use: {} }
  if (!isRecord(use))
    throw badOption(owner, 'use', 'a plain object', use, 'As in use: { db }, with values made by builders.')
  const prefixes = new Map<string, string>()
  const uses: Use[] = []
  const parts: Record<string, UsedPart> = {}
  for (const [as, value] of Object.entries(use)) {
    if (!aliasPattern.test(as)) {
      throw badOption(
        owner,
        'a name in use',
        'camel case, at most 40 letters and digits',
        as,
        'As in use: { mailQueue }.',
      )
    }
    const other = prefixes.get(envPrefix(as))
    if (other !== undefined) throw badOption(owner, `a name in use`, `different from '${other}'`, as, 'Rename one.')
    prefixes.set(envPrefix(as), as)
    const { of, ...rights } = readRights(value)
    if (isUsable(of)) {
      uses.push({ as, part: of.name, ...rights })
      parts[as] = of
      continue
    }
    const what = isPart(of) ? describePart(of.part) : show(of)
    throw new SteadError({
      code: 'model.bad-use',
      message: `${owner} cannot use ${what} as '${as}'.`,
      hint: isService(of)
        ? 'Give that service an `http` port: a service that serves nothing cannot be used.'
        : 'Pass a resource or a service with `http`, made by a builder: use: { db }, where const db = postgres(...).',
    })
  }
  return { uses: uses.sort((a, b) => (a.as < b.as ? -1 : 1)), use: Object.freeze(parts) }
}

function readEnv(owner: string, env: unknown): Readonly<Record<string, string>> {
  if (env === undefined) return {}
  if (!isRecord(env)) throw badOption(owner, 'env', 'a plain object', env, "As in env: { LOG_LEVEL: 'info' }.")
  const entries = Object.entries(env).map(([key, value]): readonly [string, string] => {
    if (!envNamePattern.test(key)) {
      throw badOption(owner, 'a name in env', 'letters, digits and underscores', key, 'As in LOG_LEVEL.')
    }
    if (typeof value === 'string' && value.length <= 32_768 && !value.includes('\0')) return [key, value]
    const hint = 'Environment variables are texts of at most 32768 characters: write String(value) for a number.'
    throw badOption(owner, `env.${key}`, 'a text', value, hint)
  })
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
}

function readLimits(owner: string, limits: unknown = {}): Limits {
  checkOptions(owner, limits, ['memory', 'cpus', 'processes', 'network'], 'limits')
  const { memory = '512MB', cpus = 1, processes = 128, network } = limits as LimitOptions
  const cpuHint = 'Cores, as in cpus: 0.5.'
  checkNumber(owner, 'limits.cpus', cpus, { min: 0.05, max: 1024, whole: false, hint: cpuHint })
  const processHint = 'Processes and threads together; a Node program needs about twelve.'
  checkNumber(owner, 'limits.processes', processes, { min: 1, max: 32_768, whole: true, hint: processHint })
  const memoryBytes = readBytes(owner, 'limits.memory', memory, 8_000_000, 4_000_000_000_000)
  const bits = network === undefined ? {} : { networkBits: readBits(owner, network) }
  return { memoryBytes, cpuCores: cpus, pidsMax: processes, ...bits }
}

const bitsOf: Readonly<Record<string, number>> = { 'kbit/s': 1e3, 'Mbit/s': 1e6, 'Gbit/s': 1e9 }

function readBits(owner: string, network: unknown): number {
  const match = typeof network === 'string' ? /^(\d{1,9}(?:\.\d{1,3})?)(kbit\/s|Mbit\/s|Gbit\/s)$/.exec(network) : null
  const bits = Math.round(Number(match?.[1]) * (bitsOf[match?.[2] ?? ''] ?? Number.NaN))
  if (bits >= 64_000 && bits <= 1e12) return bits
  throw badOption(owner, 'limits.network', 'a rate from 64kbit/s to 1000Gbit/s', network, "As in network: '20Mbit/s'.")
}

function readEgress(owner: string, egress: unknown): readonly string[] {
  if (egress === undefined) return []
  const hint = "As in egress: ['smtp.example.com:587', '*.example.org:443', '10.0.0.0/8:5432']."
  if (!Array.isArray(egress)) throw badOption(owner, 'egress', 'a list', egress, hint)
  const list = egress.map((target: unknown) => {
    const normal = typeof target === 'string' ? target.toLowerCase() : ''
    if (egressPattern.test(normal) && Number(normal.split(':')[1]) <= 65_535 && normal.length <= 259) return normal
    throw badOption(owner, 'an entry of egress', '`host:port`', target, hint)
  })
  return [...new Set(list)].sort()
}

function readTripwire(owner: string, tripwire: unknown): Tripwire {
  if (tripwire === undefined) return 'off'
  const known = tripwires.find((one) => one === tripwire)
  if (known !== undefined) return known
  throw badOption(owner, 'tripwire', "'off', 'record' or 'freeze'", tripwire, "As in tripwire: 'freeze'.")
}

function readIsolation(owner: string, isolation: unknown): Pick<Runnable, 'isolation'> {
  if (isolation === undefined || isolation === 'sandbox') return {}
  if (isolation === 'kernel') return { isolation }
  throw badOption(owner, 'isolation', "'sandbox' or 'kernel'", isolation, "As in isolation: 'kernel'.")
}

/** Throws `model.bad-option`. */
function readImage(owner: string, { image, user, users, writable, from }: ProgramOptions): ImageUse | undefined {
  if (image === undefined) {
    for (const [option, value] of Object.entries({ user, users, writable }))
      if (value !== undefined) throw badOption(owner, option, 'absent without image', value, 'It is of an image.')
    return undefined
  }
  if (typeof image !== 'string' || image.length > 1024 || !imagePattern.test(image)) {
    const hint = "As in 'oci:registry.example.org/team/web:1.4', 'oci:./image.tar', or 'oci:NAME' of one built here."
    throw badOption(owner, 'image', "a text that starts with 'oci:'", image, hint)
  }
  if (from !== undefined)
    throw badOption(owner, 'from', 'absent where there is image', from, 'The code is in the image.')
  if (user !== undefined && (typeof user !== 'string' || user.length > 256 || !imageUserPattern.test(user)))
    throw badOption(owner, 'user', 'a name or id', user, "As in user: 'redis' or user: '1000:1000'.")
  if (users !== undefined && users !== 'one' && users !== 'image')
    throw badOption(owner, 'users', "'one' or 'image'", users, "As in users: 'image'.")
  if (writable !== undefined && typeof writable !== 'boolean')
    throw badOption(owner, 'writable', 'true or false', writable, 'Default false.')
  return {
    from: image,
    ...(user === undefined ? {} : { user }),
    ...(users === 'image' ? { users } : {}),
    ...(writable === true ? { writable } : {}),
  }
}

function checkEntries(owner: string, option: string, count: number): void {
  if (count <= entriesMax) return
  throw badOption(owner, option, `at most ${entriesMax} entries`, `${count} entries`, 'Split the part.')
}

/** The common half of a service or job, and the values it uses. Throws `model.bad-option`, `model.bad-use`. */
export function readProgram(
  owner: string,
  name: string,
  options: ProgramOptions,
): { program: Runnable; use: UsedParts } {
  const image = readImage(owner, options)
  if (image === undefined || options.run !== undefined) checkCommand(owner, 'run', options.run)
  const { uses, use } = readUses(owner, options.use)
  const program: Runnable = {
    name,
    from: readDirectory(owner, 'from', options.from ?? '.'),
    run: [...(options.run ?? [])],
    ...(image === undefined ? {} : { image }),
    env: readEnv(owner, options.env),
    uses,
    limits: readLimits(owner, options.limits),
    egress: readEgress(owner, options.egress),
    tripwire: readTripwire(owner, options.tripwire),
    ...readIsolation(owner, options.isolation),
  }
  checkEntries(owner, 'use', uses.length)
  checkEntries(owner, 'env', Object.keys(program.env).length)
  checkEntries(owner, 'egress', program.egress.length)
  return { program, use }
}
