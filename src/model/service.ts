/** `service` and `job`: the builders of parts that run. */
import { badOption, checkName, checkNumber, checkOptions, readDuration } from './check.ts'
import { type SecretChange, secretChanges } from './graph.ts'
import { programOptions, readProgram } from './program.ts'
import type { ProgramOptions, WithProgram } from './program.ts'
import { readReady } from './ready.ts'
import type { ReadyOption } from './ready.ts'
import { readRetry, readSchedule } from './schedule.ts'
import type { RetryOptions, ScheduleOptions } from './schedule.ts'
import { readState, stateUse } from './state.ts'
import type { StateOptions } from './state.ts'
import type { Duration } from './units.ts'
import { brand } from './values.ts'
import { diskState, readVm, refuseOfPrograms } from './vm.ts'
import type { VmOptions } from './vm.ts'
import type { Job, Service } from './values.ts'

/** Options of `service`. */
export interface ServiceOptions<
  Http extends number | undefined = number | undefined,
  Tcp extends number | undefined = number | undefined,
> extends ProgramOptions {
  /** The port the program serves HTTP on. Without it or `tcp` nothing can use the service or be routed to it. */
  readonly http?: Http
  /** `h2c`: it speaks HTTP/2 without TLS on that port, as gRPC does. Default: HTTP/1.1. */
  readonly protocol?: 'h2c'
  /** The port of a program that serves something else than HTTP. It has one or the other. */
  readonly tcp?: Tcp
  /**
   * How to tell that an instance is ready. Default: with `http`, GET / answers below 500; with `tcp` or `h2c`, the port
   * accepts; otherwise as soon as it runs. It may take 30s, a system on a disk 5m.
   */
  readonly ready?: ReadyOption
  /** Number of instances, 1 to 100. Default 1. */
  readonly replicas?: number
  /**
   * What to do when a secret it uses gets a new version. Default 'restart': instances are replaced one by one. 'watch': the
   * file is replaced under the running program. A signal, as 'SIGHUP': that, and then the signal.
   */
  readonly onSecretChange?: SecretChange
  /**
   * State that it keeps itself, in files: it is in the app's data, in every checkpoint, and goes back with a release. Such a
   * service has one instance, which ends before the next one starts.
   */
  readonly state?: StateOptions
  /**
   * A whole system on a disk in the place of a program: a machine with a kernel of its own, of which there is one instance. A
   * processor without virtualisation emulates it, ten to twenty times slower.
   */
  readonly vm?: VmOptions
}

/** A service is a program, or a system on a disk. */
export type WithSystem = { readonly vm: VmOptions }

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
 * A part that keeps running. With `http` or `tcp` it can be used by other parts and made public.
 *
 * Throws `model.bad-name`, `model.unknown-option`, `model.bad-option`, `model.bad-use`.
 */
export function service<Http extends number | undefined = undefined, Tcp extends number | undefined = undefined>(
  name: string,
  options: ServiceOptions<Http, Tcp> & (WithProgram | WithSystem),
): Service<Http, Tcp> {
  checkName('service', name)
  const owner = `service '${name}'`
  const own = ['http', 'protocol', 'tcp', 'ready', 'replicas', 'onSecretChange', 'state', 'vm']
  checkOptions(owner, options, [...programOptions, ...own])
  const { http, tcp, protocol, replicas = 1, onSecretChange = 'restart' } = options
  const portHint = 'The port the program listens on, as in http: 3000.'
  for (const [option, port] of Object.entries({ http, tcp })) {
    if (port !== undefined) checkNumber(owner, option, port, { min: 1, max: 65_535, whole: true, hint: portHint })
  }
  if (http !== undefined && tcp !== undefined) {
    const hint = 'A program that serves both on one port speaks HTTP; for two ports make two services.'
    throw badOption(owner, 'tcp', 'absent where there is http', tcp, hint)
  }
  if (protocol !== undefined && (protocol !== 'h2c' || http === undefined)) {
    throw badOption(owner, 'protocol', "'h2c' beside http, or absent", protocol, 'HTTP/1.1 needs no protocol.')
  }
  checkNumber(owner, 'replicas', replicas, { min: 1, max: 100, whole: true, hint: 'The number of instances.' })
  if (!secretChanges.includes(onSecretChange)) {
    const hint = "As in onSecretChange: 'SIGHUP'. Without it its instances are replaced one by one."
    throw badOption(owner, 'onSecretChange', `one of ${secretChanges.join(', ')}`, onSecretChange, hint)
  }
  const system = options.vm === undefined ? {} : { vm: readVm(owner, options.vm), isolation: 'kernel' as const }
  if (options.vm !== undefined) refuseOfPrograms(owner, options)
  const stateful = withState(owner, name, options, replicas)
  const { program, use } = readProgram(owner, name, stateful, options.vm !== undefined)
  // Neither answers GET / in HTTP/1.1.
  const accepts = http === undefined ? tcp : protocol === undefined ? undefined : http
  const ready = readReady(owner, options.ready ?? (accepts === undefined ? undefined : { tcp: accepts }), {
    port: http,
    timeout: options.vm === undefined ? '30s' : '5m',
  })
  // What the app file does not say of an image, the image may.
  const image =
    program.image !== undefined && options.ready === undefined
      ? { image: { ...program.image, health: true as const } }
      : {}
  const later = { ...(protocol === undefined ? {} : { protocol }), ...(tcp === undefined ? {} : { tcp }) }
  const part = {
    kind: 'service',
    ...program,
    ...image,
    ...system,
    http: http ?? null,
    ...later,
    ready,
    replicas,
    onSecretChange,
  } as const
  // A port is absent exactly when its type is undefined, which the compiler cannot see for a type parameter.
  const ports = { http: http as Http, tcp: tcp as Tcp }
  const value: Service<Http, Tcp> = { [brand]: 'service', name, ...ports, part: Object.freeze(part), use }
  return Object.freeze(value)
}

/** The options with its state among what it uses. */
function withState(owner: string, name: string, options: ServiceOptions, replicas: number): ProgramOptions {
  if (options.state === undefined && options.vm === undefined) return options
  if (options.use !== undefined && Object.hasOwn(options.use, stateUse)) {
    const hint = 'That is the name of its own state. Rename the other.'
    throw badOption(owner, 'use', `without '${stateUse}' where there is state`, options.use, hint)
  }
  if (options.state === undefined) return { ...options, use: { ...options.use, ...diskState(owner, name, replicas) } }
  return { ...options, use: { ...options.use, [stateUse]: readState(owner, name, options.state, replicas) } }
}

/**
 * A part that runs to an end: for every release, or by a schedule.
 *
 * Throws `model.bad-name`, `model.unknown-option`, `model.bad-option`, `model.bad-use`.
 */
export function job(name: string, options: JobOptions & WithProgram): Job {
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
