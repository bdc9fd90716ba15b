/**
 * What a node is told: its plan, a set of assignments. An assignment is complete: with it on disk an agent can keep its
 * instances and resources running, and start them again after a reboot, with control out of reach.
 *
 * Invariant: a plan is named by (epoch, revision); an agent never goes back to an older one.
 */
import { z } from 'zod'
import type { Json } from '../base/index.ts'
import {
  type ImageUse,
  type Limits,
  type Ready,
  type RetryPolicy,
  type SecretChange,
  secretChanges,
  type Tripwire,
} from '../model/index.ts'
import type { Endpoint } from '../network/index.ts'
import type { Grant, PreparePhase } from '../provider/index.ts'
import { type DataPlace, dataPlaceSchema, preparePhases } from './data.ts'

/** A credential, and which version of it that is. */
export interface VersionedGrant extends Grant {
  readonly version: number
}

/** Host users of workloads start here: above what distributions give out, below what programs mistake for negative. */
export const hostUidMin = 1_900_000_000
export const hostUidMax = 2_000_000_000

/** One running copy of a service, or one run of a job. */
export interface InstanceAssignment {
  readonly kind: 'service' | 'job'
  /** `app.part.xxxxxxxx`; unique for ever. */
  readonly id: string
  readonly app: string
  readonly part: string
  /** Digest of the bundle it runs from. */
  readonly bundle: string
  readonly run: readonly string[]
  /** The bundle holds an image, whose program this is; absent: it holds code. */
  readonly image?: ImageUse
  readonly env: Readonly<Record<string, string>>
  readonly limits: Limits
  readonly http: number | null
  readonly ready: Ready
  /** Host user id of the part. */
  readonly hostUid: number
  readonly edges: readonly Edge[]
  /** What it may dial outside, as the graph says it. Absent from an older control: nothing. */
  readonly egress?: readonly string[]
  /** Absent from an older control: off. */
  readonly tripwire?: Tripwire
  /** Absent: in a sandbox on the kernel of the node. */
  readonly isolation?: 'kernel'
  /** False: it is to stop, and to stay stopped. */
  readonly wanted: boolean
  /** Jobs: longest run; null for services. */
  readonly timeoutMs: number | null
  /** Jobs: how a failed attempt is tried again; absent in plans that were written before it was told. */
  readonly retry?: RetryPolicy
  /** What is done when a secret it uses gets a new version while it runs. */
  readonly onSecretChange: SecretChange
  /** Generation of the app's data that it works on: it reaches none of another. Absent: the first. */
  readonly generation?: number
}

/** A resource served on this node, which is the home of its domain. */
export interface ResourceAssignment {
  readonly kind: 'resource'
  /** `app.part`. */
  readonly id: string
  readonly app: string
  readonly part: string
  readonly type: string
  readonly config: Json
  readonly hostUid: number
  readonly adminPassword: string
  /** Who is let in. A consumer has two while its credential is being changed over. */
  readonly grants: readonly VersionedGrant[]
  /** Users that were let in once and are to be no more. */
  readonly revoked: readonly string[]
  /** Bundle with the files its config refers to (migrations); null when there are none. */
  readonly bundle: string | null
  readonly wanted: boolean
  /** Set aside for the data of its app; absent: the node's own measure. */
  readonly dataBytes?: number
  /** Absent: the live data of its own app, in the first generation. */
  readonly data?: DataPlace
  /** How far its migrations go; absent: all the way. */
  readonly phase?: PreparePhase
}

export type Assignment = InstanceAssignment | ResourceAssignment

/** A way from an instance to another part, at a stable address of its own. */
export interface Edge {
  /** The user's name for it; shapes environment variables. */
  readonly as: string
  readonly part: string
  /** `service`, or the resource's type. */
  readonly type: string
  readonly config: Json
  readonly address: string
  /** 0 when nothing is dialled (a secret). */
  readonly port: number
  /** Id of the resource's assignment; null towards a service. */
  readonly resource: string | null
  /** The consumer's credential for a resource; null towards a service. */
  readonly grant: VersionedGrant | null
  /** Where it leads now; for targets on the same node the agent knows better. Empty: not ready. */
  readonly targets: readonly { readonly id: string; readonly endpoint: Endpoint }[]
}

export interface Plan {
  readonly epoch: number
  readonly revision: number
  readonly assignments: readonly Assignment[]
}

const endpoint: z.ZodType<Endpoint> = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('instance'), pid: z.int(), netns: z.int(), port: z.int() }),
  z.object({ kind: z.literal('tcp'), host: z.string(), port: z.int() }),
  z.object({ kind: z.literal('unix'), path: z.string() }),
])

const grant: z.ZodType<VersionedGrant> = z.object({
  consumer: z.string(),
  user: z.string(),
  password: z.string(),
  // Plans of an earlier release do not say it; there was one version then.
  version: z.int().default(1),
  rights: z.array(z.string()).exactOptional(),
})

const edge: z.ZodType<Edge> = z.object({
  as: z.string(),
  part: z.string(),
  type: z.string(),
  config: z.json(),
  address: z.string(),
  port: z.int(),
  resource: z.string().nullable(),
  grant: grant.nullable(),
  targets: z.array(z.object({ id: z.string(), endpoint })),
})

const timeoutMs = z.int().positive()

const ready: z.ZodType<Ready> = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('http'), path: z.string(), statusBelow: z.int(), timeoutMs }),
  z.object({ kind: z.literal('tcp'), port: z.int(), timeoutMs }),
  z.object({ kind: z.literal('command'), run: z.array(z.string()), timeoutMs }),
  z.object({ kind: z.literal('started'), timeoutMs }),
])

const instance = z.object({
  id: z.string(),
  app: z.string(),
  part: z.string(),
  bundle: z.string(),
  run: z.array(z.string()),
  image: z
    .object({
      from: z.string(),
      digest: z.string().exactOptional(),
      user: z.string().exactOptional(),
      users: z.literal('image').exactOptional(),
      writable: z.literal(true).exactOptional(),
      health: z.literal(true).exactOptional(),
    })
    .exactOptional(),
  env: z.record(z.string(), z.string()),
  limits: z.object({
    memoryBytes: z.int(),
    cpuCores: z.number(),
    pidsMax: z.int(),
    networkBits: z.int().exactOptional(),
  }),
  http: z.int().nullable(),
  ready,
  hostUid: z.int(),
  edges: z.array(edge),
  egress: z.array(z.string().max(259)).max(1000).exactOptional(),
  tripwire: z.enum(['off', 'record', 'freeze']).exactOptional(),
  isolation: z.literal('kernel').exactOptional(),
  wanted: z.boolean(),
  timeoutMs: timeoutMs.nullable(),
  retry: z.object({ attempts: z.int().positive(), pauseMs: z.int().positive() }).exactOptional(),
  onSecretChange: z.enum(secretChanges).default('restart'),
  generation: z.int().positive().exactOptional(),
})

const resource = z.object({
  kind: z.literal('resource'),
  id: z.string(),
  app: z.string(),
  part: z.string(),
  type: z.string(),
  config: z.json(),
  hostUid: z.int(),
  adminPassword: z.string(),
  grants: z.array(grant),
  revoked: z.array(z.string()).default([]),
  bundle: z.string().nullable(),
  wanted: z.boolean(),
  dataBytes: z.int().positive().exactOptional(),
  data: dataPlaceSchema.exactOptional(),
  phase: z.enum(preparePhases).exactOptional(),
})

/** Validates one assignment that came over a wire or from a disk. */
export const assignmentSchema: z.ZodType<Assignment> = z.discriminatedUnion('kind', [
  instance.extend({ kind: z.literal('service') }),
  instance.extend({ kind: z.literal('job') }),
  resource,
])

/** Validates a plan. */
export const planSchema: z.ZodType<Plan> = z.object({
  epoch: z.int(),
  revision: z.int(),
  assignments: z.array(assignmentSchema),
})

/** Validates an endpoint. */
export const endpointSchema: z.ZodType<Endpoint> = endpoint
