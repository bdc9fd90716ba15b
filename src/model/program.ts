/** `service` and `job`: programs that run. Their options are checked here and become the parts of the graph, defaults filled in. */
import { SteadError } from '../base/index.ts'
import {
  badOption,
  checkCommand,
  checkName,
  checkNumber,
  checkOptions,
  isRecord,
  readBytes,
  readDuration,
  show,
} from './check.ts'
import { readDirectory } from './directory.ts'
import { entriesMax } from './graph.ts'
import type { Limits, Runnable } from './graph.ts'
import { aliasPattern, egressPattern, envNamePattern, envPrefix } from './patterns.ts'
import { readReady } from './ready.ts'
import type { ReadyOption } from './ready.ts'
import { scheduleProblem } from './schedule.ts'
import type { Bytes, Duration } from './units.ts'
import { brand, describePart, isPart, isService, isUsable } from './values.ts'
import type { Job, Service, Uses } from './values.ts'

/** What services and jobs have in common. */
export interface ProgramOptions {
  /** The program and its arguments. No shell reads it. */
  readonly run: readonly [string, ...string[]]
  /** Directory of the code, relative to the app file. Default: that of the app file. */
  readonly from?: string
  /** Environment variables, beside those that uses bring. Never secrets: the graph is no secret. */
  readonly env?: Readonly<Record<string, string>>
  /** What the program may reach, by its own names for it. Everything else is closed. */
  readonly use?: Uses
  readonly limits?: LimitOptions
  /** What it may dial outside the app, as `host:port`. Recorded in the graph; today everything outside stays closed. */
  readonly egress?: readonly `${string}:${number}`[]
}

/** What one instance may take. */
export interface LimitOptions {
  /** Default 512MB. */
  readonly memory?: Bytes
  /** CPU cores, 0.05 to 1024. Default 1. */
  readonly cpus?: number
  /** Processes and threads together, 1 to 32768. Default 128. */
  readonly processes?: number
}

/** Options of `service`. */
export interface ServiceOptions<Http extends number | undefined = number | undefined> extends ProgramOptions {
  /** The port the program serves HTTP on. Without it nothing can use the service or be routed to it. */
  readonly http?: Http
  /** How to tell that an instance is ready. Default: with `http`, GET / answers below 500; otherwise as soon as it runs. */
  readonly ready?: ReadyOption
  /** Number of instances, 1 to 100. Default 1. */
  readonly replicas?: number
}

/** Options of `job`. */
export interface JobOptions extends ProgramOptions {
  /** Cron expression of five fields, in UTC. Default: none, and the job runs once for every release. */
  readonly schedule?: string
  /** A run that takes longer is ended. 1s to 7d, default 10m. */
  readonly timeout?: Duration
}

const programOptions = ['run', 'from', 'env', 'use', 'limits', 'egress']

function readUses(owner: string, use: unknown): Uses {
  if (use === undefined) return {}
  if (!isRecord(use))
    throw badOption(owner, 'use', 'an object', use, 'As in use: { db }, with values made by builders.')
  const prefixes = new Map<string, string>()
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
    if (isUsable(value)) continue
    const what = isPart(value) ? describePart(value.part) : show(value)
    throw new SteadError({
      code: 'model.bad-use',
      message: `${owner} cannot use ${what} as '${as}'.`,
      hint: isService(value)
        ? 'Give that service an `http` port: a service that serves nothing cannot be used.'
        : 'Pass a resource or a service with `http`, made by a builder: use: { db }, where const db = postgres(...).',
    })
  }
  return Object.freeze({ ...use } as Uses)
}

function readEnv(owner: string, env: unknown): Readonly<Record<string, string>> {
  if (env === undefined) return {}
  if (!isRecord(env)) throw badOption(owner, 'env', 'an object', env, "As in env: { LOG_LEVEL: 'info' }.")
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
  checkOptions(owner, limits, ['memory', 'cpus', 'processes'], 'limits')
  const { memory = '512MB', cpus = 1, processes = 128 } = limits as LimitOptions
  const cpuHint = 'Cores, as in cpus: 0.5.'
  checkNumber(owner, 'limits.cpus', cpus, { min: 0.05, max: 1024, whole: false, hint: cpuHint })
  const processHint = 'Processes and threads together; a Node program needs about twelve.'
  checkNumber(owner, 'limits.processes', processes, { min: 1, max: 32_768, whole: true, hint: processHint })
  const memoryBytes = readBytes(owner, 'limits.memory', memory, 8_000_000, 4_000_000_000_000)
  return { memoryBytes, cpuCores: cpus, pidsMax: processes }
}

function readEgress(owner: string, egress: unknown): readonly string[] {
  if (egress === undefined) return []
  const hint = "As in egress: ['smtp.example.com:587']."
  if (!Array.isArray(egress)) throw badOption(owner, 'egress', 'a list', egress, hint)
  const list = egress.map((target: unknown) => {
    const normal = typeof target === 'string' ? target.toLowerCase() : ''
    if (egressPattern.test(normal) && Number(normal.split(':')[1]) <= 65_535) return normal
    throw badOption(owner, 'an entry of egress', '`host:port`', target, hint)
  })
  return [...new Set(list)].sort()
}

function checkEntries(owner: string, option: string, count: number): void {
  if (count <= entriesMax) return
  throw badOption(owner, option, `at most ${entriesMax} entries`, `${count} entries`, 'Split the part.')
}

/** The common half of a service or job. */
function readProgram(owner: string, name: string, options: ProgramOptions): { program: Runnable; use: Uses } {
  checkCommand(owner, 'run', options.run)
  const use = readUses(owner, options.use)
  const uses = Object.entries(use).map(([as, value]) => ({ as, part: value.name }))
  const program: Runnable = {
    name,
    from: readDirectory(owner, 'from', options.from ?? '.'),
    run: [...options.run],
    env: readEnv(owner, options.env),
    uses: uses.sort((a, b) => (a.as < b.as ? -1 : 1)),
    limits: readLimits(owner, options.limits),
    egress: readEgress(owner, options.egress),
  }
  checkEntries(owner, 'use', uses.length)
  checkEntries(owner, 'env', Object.keys(program.env).length)
  checkEntries(owner, 'egress', program.egress.length)
  return { program, use }
}

/**
 * A part that keeps running. With `http` it can be used by other parts and made public.
 *
 * Throws `model.bad-name`, `model.unknown-option`, `model.bad-option`, `model.bad-use`.
 */
export function service<Http extends number | undefined = undefined>(
  name: string,
  options: ServiceOptions<Http>,
): Service<Http> {
  checkName('service', name)
  const owner = `service '${name}'`
  checkOptions(owner, options, [...programOptions, 'http', 'ready', 'replicas'])
  const { http, replicas = 1 } = options
  if (http !== undefined) {
    const hint = 'The port the program listens on, as in http: 3000.'
    checkNumber(owner, 'http', http, { min: 1, max: 65_535, whole: true, hint })
  }
  checkNumber(owner, 'replicas', replicas, { min: 1, max: 100, whole: true, hint: 'The number of instances.' })
  const { program, use } = readProgram(owner, name, options)
  const ready = readReady(owner, options.ready, http)
  const part = { kind: 'service', ...program, http: http ?? null, ready, replicas } as const
  // `http` is absent exactly when its type is undefined, which the compiler cannot see for a type parameter.
  const value: Service<Http> = { [brand]: 'service', name, http: http as Http, part: Object.freeze(part), use }
  return Object.freeze(value)
}

/**
 * A part that runs to an end: for every release, or by a schedule.
 *
 * Throws `model.bad-name`, `model.unknown-option`, `model.bad-option`, `model.bad-use`.
 */
export function job(name: string, options: JobOptions): Job {
  checkName('job', name)
  const owner = `job '${name}'`
  checkOptions(owner, options, [...programOptions, 'schedule', 'timeout'])
  const { program, use } = readProgram(owner, name, options)
  const timeoutMs = readDuration(owner, 'timeout', options.timeout ?? '10m', 1000, 7 * 86_400_000)
  const part = { kind: 'job', ...program, schedule: readSchedule(owner, options.schedule), timeoutMs } as const
  const value: Job = { [brand]: 'job', name, part: Object.freeze(part), use }
  return Object.freeze(value)
}

function readSchedule(owner: string, schedule: unknown): string | null {
  if (schedule === undefined) return null
  const problem = typeof schedule === 'string' ? scheduleProblem(schedule) : 'is no text'
  if (typeof schedule === 'string' && problem === null) return schedule
  throw new SteadError({
    code: 'model.bad-schedule',
    message: `${owner}: schedule ${show(schedule)} ${problem}.`,
    hint: "Minute, hour, day of month, month, day of week, in UTC: '30 3 * * *' is every night at half past three.",
  })
}
