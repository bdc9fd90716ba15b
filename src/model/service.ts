/** `service` and `job`: the builders of parts that run. */
import { badOption, checkName, checkNumber, checkOptions, readDuration } from './check.ts'
import { type SecretChange, secretChanges } from './graph.ts'
import { programOptions, readProgram } from './program.ts'
import type { ProgramOptions } from './program.ts'
import { readReady } from './ready.ts'
import type { ReadyOption } from './ready.ts'
import { readRetry, readSchedule } from './schedule.ts'
import type { RetryOptions, ScheduleOptions } from './schedule.ts'
import type { Duration } from './units.ts'
import { brand } from './values.ts'
import type { Job, Service } from './values.ts'

/** Options of `service`. */
export interface ServiceOptions<Http extends number | undefined = number | undefined> extends ProgramOptions {
  /** The port the program serves HTTP on. Without it nothing can use the service or be routed to it. */
  readonly http?: Http
  /** How to tell that an instance is ready. Default: with `http`, GET / answers below 500; otherwise as soon as it runs. */
  readonly ready?: ReadyOption
  /** Number of instances, 1 to 100. Default 1. */
  readonly replicas?: number
  /**
   * What to do when a secret it uses gets a new version. Default 'restart': instances are replaced one by one. 'watch': the
   * file is replaced under the running program. A signal, as 'SIGHUP': that, and then the signal.
   */
  readonly onSecretChange?: SecretChange
}

/** Options of `job`. */
export interface JobOptions extends ProgramOptions {
  /** A cron expression of five fields, in UTC, or one with all that can be said. Default: none, and the job runs once for every release. */
  readonly schedule?: string | ScheduleOptions
  /** How a run that fails is tried again. */
  readonly retry?: RetryOptions
  /** An attempt that takes longer is ended. 1s to 7d, default 10m. */
  readonly timeout?: Duration
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
  checkOptions(owner, options, [...programOptions, 'http', 'ready', 'replicas', 'onSecretChange'])
  const { http, replicas = 1, onSecretChange = 'restart' } = options
  if (http !== undefined) {
    const hint = 'The port the program listens on, as in http: 3000.'
    checkNumber(owner, 'http', http, { min: 1, max: 65_535, whole: true, hint })
  }
  checkNumber(owner, 'replicas', replicas, { min: 1, max: 100, whole: true, hint: 'The number of instances.' })
  if (!secretChanges.includes(onSecretChange)) {
    const hint = "As in onSecretChange: 'SIGHUP'. Without it its instances are replaced one by one."
    throw badOption(owner, 'onSecretChange', `one of ${secretChanges.join(', ')}`, onSecretChange, hint)
  }
  const { program, use } = readProgram(owner, name, options)
  const ready = readReady(owner, options.ready, http)
  const part = { kind: 'service', ...program, http: http ?? null, ready, replicas, onSecretChange } as const
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
  checkOptions(owner, options, [...programOptions, 'schedule', 'retry', 'timeout'])
  const { program, use } = readProgram(owner, name, options)
  const timeoutMs = readDuration(owner, 'timeout', options.timeout ?? '10m', 1000, 7 * 86_400_000)
  const times = { ...readSchedule(owner, options.schedule), retry: readRetry(owner, options.retry) }
  const part = { kind: 'job', ...program, ...times, timeoutMs } as const
  const value: Job = { [brand]: 'job', name, part: Object.freeze(part), use }
  return Object.freeze(value)
}
