/**
 * The graph: an app as plain JSON. It is what running the app file yields, and all that anything downstream reads.
 *
 * Invariants: every field is always present (null or empty where nothing was said) but for those that came later, which are
 * absent where nothing was said, so that a graph without them is the same to older readers; parts and routes are sorted, so
 * that equal apps give equal bytes; every `use` and route names a part that exists; uses have no cycle.
 */
import type { Json } from '../base/index.ts'

/** Version of this format. Readers refuse a newer one by name. */
export const graphVersion = 1 as const

/** Most parts, routes, and uses or variables of one part that a graph may hold. */
export const entriesMax = 1000

export interface Graph {
  readonly version: typeof graphVersion
  /** Lower-case letters, digits, dash; at most 40. Part names likewise. */
  readonly app: string
  /** Sorted by name. */
  readonly parts: readonly Part[]
  /** The way in, sorted by host, then path. */
  readonly routes: readonly Route[]
  /** Set aside for all of the app's data, where the machine can limit it; absent: `dataBytesDefault`. */
  readonly dataBytes?: number
  /** Backups that the platform makes and proves by itself; absent: none. */
  readonly backup?: BackupPlan
  /** The ways in for connections that are carried as they are, sorted: ports, then server names. Absent when there are none. */
  readonly streams?: readonly StreamRoute[]
}

/** Less than this no driver can set aside. */
export const dataBytesMin: number = 256 * 1024 ** 2

/** Set aside for the data of an app that says nothing of it. */
export const dataBytesDefault: number = 4 * 1024 ** 3

export type Part = ServicePart | JobPart | ResourcePart

/** Backups of all of the app's data, as they are to be. */
export interface BackupPlan {
  /** A directory, or `s3:https://HOST/BUCKET[/FOLDER]`. */
  readonly to: string
  readonly everyMs: number
  /** Between two of them the log is carried there so often: what is lost with the machine, at most. */
  readonly logMs: number
  /** The newest so many stay, and all that are younger. */
  readonly keep: { readonly count: number; readonly withinMs: number }
  /** How often a backup is proved, and what is asked of it then, by part. */
  readonly drill: { readonly everyMs: number; readonly probes: Readonly<Record<string, string>> }
  /** The secret that is the key of the backups; null: the key of the machine. */
  readonly key: string | null
  /** The secret that holds the keys of the S3 server; null: there is none. */
  readonly credentials: string | null
  /** Null where the S3 server wants none. */
  readonly region: string | null
}

/** What services and jobs have in common: a program that runs in instances. */
export interface Runnable {
  readonly name: string
  /** Directory of the code, inside that of the app file and relative to it, with forward slashes; `.` is that directory itself. It becomes the bundle. */
  readonly from: string
  /** Empty where there is an image: then it is that of the image. */
  readonly run: readonly string[]
  /** Where its program comes from, instead of `from`. Absent when it has no image. */
  readonly image?: ImageUse
  readonly env: Readonly<Record<string, string>>
  /** Sorted by `as`. */
  readonly uses: readonly Use[]
  readonly limits: Limits
  /** What it may dial outside the app, sorted: `host:port`, `*.domain:port`, `address:port`, `address/bits:port`. Everything else is refused. */
  readonly egress: readonly string[]
  readonly tripwire: Tripwire
  /** `kernel`: each instance runs on a kernel of its own. Absent: in a sandbox on the kernel of its node. */
  readonly isolation?: 'kernel'
}

/** An image of OCI or Docker as the program of a part. */
export interface ImageUse {
  /** `oci:` and a registry's reference, a path, or a name of the machine that deploys. */
  readonly from: string
  /** The manifest that `from` stood for when the app was deployed. Absent in what an app file says, for it asks nobody. */
  readonly digest?: string
  /** Name or id of the user inside, with a group after a colon. Absent: that of the image. */
  readonly user?: string
  /** Its users are kept apart. Absent: there is one, to whom all of it belongs. */
  readonly users?: 'image'
  /** It may write into its root, in memory. Absent: only into its volumes and /tmp. */
  readonly writable?: true
  /** The part does not say how to tell that it is ready, so the image may. */
  readonly health?: true
}

export interface ServicePart extends Runnable {
  readonly kind: 'service'
  /** Port the program serves HTTP on, or null when it serves nothing. */
  readonly http: number | null
  /** `h2c`: it speaks HTTP/2 without TLS there, as gRPC does. Absent: HTTP/1.1. */
  readonly protocol?: 'h2c'
  /** Port of a program that serves something else than HTTP; then `http` is null. Absent when it does not. */
  readonly tcp?: number
  readonly ready: Ready
  /** Number of instances, 1 to 100. */
  readonly replicas: number
  /** What is done when a secret that it reads from a file gets a new version. */
  readonly onSecretChange: SecretChange
}

/**
 * `restart`: its instances are replaced one by one. `watch`: the file is replaced under the running program, which looks
 * for itself. A signal: the file is replaced, then the program gets the signal.
 */
export const secretChanges = ['restart', 'watch', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const
export type SecretChange = (typeof secretChanges)[number]

export interface JobPart extends Runnable {
  readonly kind: 'job'
  /** Cron expression of five fields, in `timeZone`; null: runs once for every release. */
  readonly schedule: string | null
  /** IANA name, such as Europe/Berlin. */
  readonly timeZone: string
  readonly overlap: Overlap
  readonly missed: Missed
  readonly retry: RetryPolicy
  /** Longest time of one attempt. */
  readonly timeoutMs: number
}

/** What becomes of a run that falls due while others still run. Beyond both numbers it is left out. */
export interface Overlap {
  /** Runs at the same time, 1 to 100. */
  readonly runsMax: number
  /** Runs that wait for one of them to end: 0 or 1. */
  readonly queueMax: number
}

/** What becomes of runs that fell due while nothing could run. */
export interface Missed {
  /** The last so many of them are made up for, 0 to 100. */
  readonly runsMax: number
  /** Those that were due longer ago than this are not. */
  readonly withinMs: number
}

/** A run that fails is tried again, after a pause that doubles each time. */
export interface RetryPolicy {
  /** Attempts in all, 1 to 20. */
  readonly attempts: number
  /** Before the second attempt. */
  readonly pauseMs: number
}

/** A database, queue, bucket, secret: `type` names the provider that stands behind it, `config` is that provider's own. */
export interface ResourcePart {
  readonly kind: 'resource'
  readonly name: string
  readonly type: string
  readonly config: Json
  /** Directory of files that belong to it (migrations), written as `from` is; null when there are none. */
  readonly files: string | null
}

/** A part's use of another: a resource, or a service with `http` or `tcp`. `as` is the user's own name for it and shapes its environment variables (`envPrefix`). */
export interface Use {
  readonly as: string
  readonly part: string
  /** What of the resource it is given, sorted. Absent: everything that its type offers. */
  readonly rights?: readonly string[]
}

/** How to tell that an instance is ready. `started`: as soon as it runs. */
export type Ready =
  /** GET `path` on the service's port is answered with a status from 200 up to, but not including, `statusBelow`. */
  | { readonly kind: 'http'; readonly path: string; readonly statusBelow: number; readonly timeoutMs: number }
  | { readonly kind: 'tcp'; readonly port: number; readonly timeoutMs: number }
  | { readonly kind: 'command'; readonly run: readonly string[]; readonly timeoutMs: number }
  | { readonly kind: 'started'; readonly timeoutMs: number }

/**
 * What follows when an instance does what no honest program does: off: nothing is watched. record: evidence is kept.
 * freeze: also, it is stopped where it stands, kept for inspection, and replaced.
 */
export type Tripwire = 'off' | 'record' | 'freeze'

/** What one instance may take. */
export interface Limits {
  readonly memoryBytes: number
  readonly cpuCores: number
  readonly pidsMax: number
  /** Bits per second that each instance is guaranteed with the outside, and held to. Absent: its share of what is left. */
  readonly networkBits?: number
}

/** A way in. The longest path that fits on a segment boundary wins. */
export interface Route {
  /** Lower case; `*.` in front stands for any one label. */
  readonly host: string
  /** Prefix, starts with a slash. */
  readonly path: string
  readonly part: string
  /** Requests in plain HTTP are served even where there is https. Absent: they are sent on to it. */
  readonly plain?: 'serve'
  /** How long browsers are to ask for the host by https only, seconds. Absent: that is not said. */
  readonly hstsS?: number
}

/** A way in for connections that are carried as they are. */
export interface StreamRoute {
  readonly way: StreamWay
  readonly part: string
}

/** By a port of the way in, or by the server name of TLS, which ends at the part: nobody else has its key. */
export type StreamWay =
  | { readonly kind: 'tcp'; readonly port: number }
  | { readonly kind: 'tls'; readonly host: string }
