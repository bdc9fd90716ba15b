/**
 * What the builders make: plain, frozen values that the app file passes around. Passing one is the dependency.
 *
 * A value already holds its part as it will stand in the graph, and beside it the values it uses; collecting an app is a
 * walk. The brand is a registered symbol, not a class, so that values of two copies of this library fit together, and a
 * plain object never passes for one.
 */
import type { JobPart, ResourcePart, ServicePart } from './graph.ts'
import type { Bytes, Duration } from './units.ts'

/** The key that only builders set. */
export const brand: unique symbol = Symbol.for('stead.value')

/**
 * A part that keeps running. `Http` is the port it serves HTTP on, `Tcp` that of a program that serves something else; both
 * are `undefined` when it serves nothing, and then nothing can use it.
 */
export interface Service<
  Http extends number | undefined = number | undefined,
  Tcp extends number | undefined = number | undefined,
> {
  readonly [brand]: 'service'
  readonly name: string
  readonly http: Http
  readonly tcp: Tcp
  readonly part: ServicePart
  readonly use: UsedParts
}

/** A part that runs to an end. Nothing can use it. */
export interface Job {
  readonly [brand]: 'job'
  readonly name: string
  readonly part: JobPart
  readonly use: UsedParts
}

/** A part that keeps state for others. `Type` names its provider: `postgres`, `secret`. */
export interface Resource<Type extends string = string> {
  readonly [brand]: 'resource'
  readonly name: string
  readonly type: Type
  readonly part: ResourcePart
  /** Where somebody else runs it: the secret by which it is reached. */
  readonly hosted?: Resource<'secret'>
}

/** A resource as one user gets it: with some of its rights. Made by `only` of the resource. */
export interface RightsUse<Type extends string = string> {
  readonly [brand]: 'use'
  readonly resource: Resource<Type>
  /** Sorted. */
  readonly rights: readonly string[]
}

/** A service that serves something else than HTTP. */
export type TcpService = Service<undefined, number>

/** What a service or job can be given: any resource, with all rights or some, or a service that serves something. */
export type Usable = UsedPart | RightsUse

/** The part behind what is given. */
export type UsedPart = Resource | Service<number> | TcpService

/** What a service or job is given, by its own names for it. */
export type Uses = Readonly<Record<string, Usable>>

/** The parts behind them, by the same names. */
export type UsedParts = Readonly<Record<string, UsedPart>>

/** Where the app will run. The only thing an app file can depend on. */
export interface Environment {
  /** `local`, `production`, or what the operator called it. */
  readonly name: string
  readonly production: boolean
}

/** What the function of `app` is handed. */
export interface AppContext {
  readonly env: Environment
}

/** What the function of `app` answers. */
export interface Declaration {
  /** Services and jobs of the app. What they use comes with them. The keys are for reading; a part's name counts. */
  readonly parts: Readonly<Record<string, Service | Job | Resource>>
  /**
   * The ways in. `host` or `host/path`, and the service that answers there; `*.host` stands for any one label. `host`, and the
   * bucket that whoever has a key or a signed URL reaches there. `tcp:PORT`, and
   * the service with `tcp` or the resource that connections to this port are carried to. `tls:host`, and the service with
   * `tcp` that TLS for this name is carried to as it is.
   */
  readonly public?: Readonly<Record<string, Way>>
  /**
   * What is set aside for all of the app's data, 256MiB to 16TB, where the machine can limit it. Default 4GiB. It can grow.
   */
  readonly data?: Bytes
  /** Backups that the platform makes and proves by itself. Default: none. */
  readonly backup?: BackupOptions
}

/** Backups of all of the app's data. A machine that was down makes up for one when it comes back, never for several. */
export interface BackupOptions {
  /** A directory of another disk, or `s3:https://HOST/BUCKET[/FOLDER]`. */
  readonly to: `/${string}` | `s3:http${string}`
  /** How often, 10m to 366d. Default 1d. */
  readonly every?: Duration
  /** How often the log is carried there between two of them, 10s to 366d. Default 5m: what is lost with the machine, at most. */
  readonly log?: Duration
  /** What stays: the newest `count` (default 14), and all that are younger than `within`. The newest that was proved always does. */
  readonly keep?: { readonly count?: number; readonly within?: Duration }
  /** How often one is proved (1h to 366d, default 7d), and questions that its databases must answer, by part. */
  readonly drill?: { readonly every?: Duration; readonly probe?: Readonly<Record<string, string>> }
  /** The key of the backups. Default: the key of the machine, as `stead backup key` shows it. */
  readonly key?: Resource<'secret'>
  /** Keys of the S3 server: `aws_access_key_id = ...` and `aws_secret_access_key = ...`, a line each. */
  readonly credentials?: Resource<'secret'>
  /** Where the S3 server wants one. */
  readonly region?: string
}

/** Where a way in leads. */
export type Way = HttpWay | TcpService | Resource

/** A service with HTTP or a bucket, or one with what holds for this way alone. */
export type HttpWay = Service<number> | Resource<'bucket'> | HttpWayOptions

export interface HttpWayOptions {
  readonly to: Service<number> | Resource<'bucket'>
  /** `serve`: answer plain HTTP even where there is https. Default: it is sent on to https, where there is. */
  readonly plain?: 'serve'
  /** How long browsers are to ask for this host by https only (HSTS), as in `180d`. 1s to 730d. Default: that is not said. */
  readonly hsts?: Duration
}

/** What may stand at a key of `public` where `Value` stands: nothing is in it that has no meaning. */
export type WayAt<Key, Value> = Key extends `tcp:${string}`
  ? TcpService | Resource
  : Key extends `tls:${string}`
    ? TcpService
    : Value extends { readonly to: unknown }
      ? HttpWayOptions & Record<Exclude<keyof Value, keyof HttpWayOptions>, never>
      : Service<number> | Resource<'bucket'>

/** An app, as its file exports it. */
export interface App {
  readonly [brand]: 'app'
  readonly name: string
  declare(context: AppContext): Declaration
}

function brandOf(value: unknown): unknown {
  return typeof value === 'object' && value !== null && brand in value ? value[brand] : undefined
}

/** Whether a value was made by `service`, `job`, `resource` or what is made of it. */
export function isPart(value: unknown): value is Service | Job | Resource {
  return isService(value) || brandOf(value) === 'job' || isResource(value)
}

/** Whether a value was made by `service`. */
export function isService(value: unknown): value is Service {
  return brandOf(value) === 'service'
}

/** Whether a service serves HTTP. */
export function servesHttp(value: Service): value is Service<number> {
  return value.http !== undefined
}

/** Whether a service serves something else than HTTP. */
export function servesTcp(value: Service): value is TcpService {
  return value.tcp !== undefined
}

/** Whether a value was made by `resource` or what is made of it. */
export function isResource(value: unknown): value is Resource {
  return brandOf(value) === 'resource'
}

/** Whether a value was made by `only` of a resource. */
export function isUse(value: unknown): value is RightsUse {
  return brandOf(value) === 'use'
}

/** Whether a value is a part that another can use. */
export function isUsable(value: unknown): value is UsedPart {
  return isResource(value) || (isService(value) && (servesHttp(value) || servesTcp(value)))
}

/** Whether a value was made by `app`. */
export function isApp(value: unknown): value is App {
  return brandOf(value) === 'app'
}

/** A part in words: `service 'web'`, `postgres 'db'`. */
export function describePart(part: ServicePart | JobPart | ResourcePart): string {
  return `${part.kind === 'resource' ? part.type : part.kind} '${part.name}'`
}
