/** What a node reports of each of its assignments. Never written durably: the node knows, and says it again. */
import { z } from 'zod'
import type { Endpoint } from '../network/index.ts'
import { endpointSchema } from './plan.ts'

/**
 * Where an assignment stands.
 * waiting: for a part it uses. starting: runs, not ready yet. ready: serves. unready: was ready, does not answer now.
 * backing-off: ended, will be started again. gave-up: will not be started again until something changes.
 * stopping, stopped: as it was told. succeeded, failed: a job's end.
 */
export const phases = [
  'waiting',
  'starting',
  'ready',
  'unready',
  'backing-off',
  'gave-up',
  'stopping',
  'stopped',
  'succeeded',
  'failed',
] as const
export type Phase = (typeof phases)[number]

export interface AssignmentStatus {
  readonly id: string
  readonly phase: Phase
  /** Why, in a sentence, where there is something to say. */
  readonly reason: string | null
  readonly restarts: number
  /** Since when it has been in this phase, milliseconds since 1970 by the node's clock. */
  readonly sinceMs: number
  /** How to reach it, once it can be reached. */
  readonly endpoint: Endpoint | null
  readonly pid: number | null
  readonly memoryBytes: number | null
  /** Of a job that has ended, when its last attempt ended by itself. */
  readonly exitCode?: number
  /**
   * The credentials in force, as `name@version`: of a resource who is let in, by consumer; of an instance what it was handed,
   * by the part that the credential is for. Left out by nodes of an earlier release.
   */
  readonly credentials?: readonly string[]
}

/** The disk that a node keeps everything on. low: said to people. critical: nothing new is taken on. */
export interface DiskState {
  readonly freeBytes: number
  readonly totalBytes: number
  readonly level: 'ok' | 'low' | 'critical'
}

export const diskSchema: z.ZodType<DiskState> = z.object({
  freeBytes: z.number().min(0),
  totalBytes: z.number().min(0),
  level: z.enum(['ok', 'low', 'critical']),
})

export const statusSchema: z.ZodType<AssignmentStatus> = z.object({
  id: z.string(),
  phase: z.enum(phases),
  reason: z.string().nullable(),
  restarts: z.int(),
  sinceMs: z.number(),
  endpoint: endpointSchema.nullable(),
  pid: z.int().nullable(),
  memoryBytes: z.number().nullable(),
  exitCode: z.int().exactOptional(),
  credentials: z.array(z.string()).exactOptional(),
})
