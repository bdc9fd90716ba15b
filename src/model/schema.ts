/**
 * The graph's format as a schema: what `parseGraph` checks, and where the published graph.schema.json comes from. Holds
 * what is true of one field; what holds between parts is in invariants.ts. The one file that loads zod.
 */
import * as z from 'zod'
import type { Json } from '../base/index.ts'
import type { Graph } from './graph.ts'
import { dataBytesMin, entriesMax, graphVersion, secretChanges } from './graph.ts'
import {
  aliasPattern,
  backupPlacePattern,
  directoryPattern,
  egressPattern,
  envNamePattern,
  hostPattern,
  imageDigestPattern,
  imagePattern,
  imageUserPattern,
  namePattern,
  requestPathPattern,
  routePathPattern,
  typePattern,
} from './patterns.ts'
import { jobDefaults } from './schedule.ts'

const name = z.string().regex(namePattern)
const port = z.int().min(1).max(65_535)
const directory = z.string().max(1024).regex(directoryPattern)
const command = z.array(z.string().max(32_768)).min(1).max(1000)
const timeoutMs = z.int().min(1000)
const json: z.ZodType<Json> = z.json()

const ready = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('http'),
    path: z.string().regex(requestPathPattern),
    statusBelow: z.int().min(201).max(600),
    timeoutMs,
  }),
  z.strictObject({ kind: z.literal('tcp'), port, timeoutMs }),
  z.strictObject({ kind: z.literal('command'), run: command, timeoutMs }),
  z.strictObject({ kind: z.literal('started'), timeoutMs }),
])

const runnable = {
  name,
  from: directory,
  run: command.or(z.tuple([])),
  image: z
    .strictObject({
      from: z.string().max(1024).regex(imagePattern),
      digest: z.string().regex(imageDigestPattern).exactOptional(),
      user: z.string().max(256).regex(imageUserPattern).exactOptional(),
      users: z.literal('image').exactOptional(),
      writable: z.literal(true).exactOptional(),
      health: z.literal(true).exactOptional(),
    })
    .exactOptional(),
  env: z.record(z.string().regex(envNamePattern), z.string().max(32_768)),
  uses: z
    .array(
      z.strictObject({
        as: z.string().regex(aliasPattern),
        part: name,
        rights: z.array(z.string().regex(typePattern)).min(1).max(20).exactOptional(),
      }),
    )
    .max(entriesMax),
  limits: z.strictObject({
    memoryBytes: z.int().min(1),
    cpuCores: z.number().positive(),
    pidsMax: z.int().min(1),
    networkBits: z.int().min(1).exactOptional(),
  }),
  egress: z.array(z.string().max(259).regex(egressPattern)).max(entriesMax),
  // Graphs of before there were any have none.
  tripwire: z.enum(['off', 'record', 'freeze']).default('off'),
  isolation: z.literal('kernel').exactOptional(),
}

const part = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('service'),
    ...runnable,
    http: port.nullable(),
    protocol: z.literal('h2c').exactOptional(),
    tcp: port.exactOptional(),
    ready,
    replicas: z.int().min(1).max(100),
    // Graphs of an earlier release do not say it.
    onSecretChange: z.enum(secretChanges).default('restart'),
  }),
  z.strictObject({
    kind: z.literal('job'),
    ...runnable,
    schedule: z.string().nullable(),
    // Fields with a default came later: graphs that were written before have none of them.
    timeZone: z.string().max(64).default(jobDefaults.timeZone),
    overlap: z
      .strictObject({ runsMax: z.int().min(1).max(100), queueMax: z.int().min(0).max(1) })
      .default(jobDefaults.overlap),
    missed: z.strictObject({ runsMax: z.int().min(0).max(100), withinMs: z.int().min(0) }).default(jobDefaults.missed),
    retry: z.strictObject({ attempts: z.int().min(1).max(20), pauseMs: z.int().min(100) }).default(jobDefaults.retry),
    timeoutMs,
  }),
  z.strictObject({
    kind: z.literal('resource'),
    name,
    type: z.string().regex(typePattern),
    config: json,
    files: directory.nullable(),
  }),
])

/** The schema of a graph of this version. */
export const graphSchema: z.ZodType<Graph> = z.strictObject({
  version: z.literal(graphVersion),
  app: name,
  parts: z.array(part).max(entriesMax),
  routes: z
    .array(
      z.strictObject({
        host: z.string().max(253).regex(hostPattern),
        path: z.string().max(1024).regex(routePathPattern),
        part: name,
        plain: z.literal('serve').exactOptional(),
        hstsS: z.int().min(0).exactOptional(),
      }),
    )
    .max(entriesMax),
  dataBytes: z.int().min(dataBytesMin).exactOptional(),
  backup: z
    .strictObject({
      to: z.string().max(1300).regex(backupPlacePattern),
      everyMs: z.int().min(600_000),
      logMs: z.int().min(10_000),
      keep: z.strictObject({ count: z.int().min(1), withinMs: z.int().min(0) }),
      drill: z.strictObject({ everyMs: z.int().min(3_600_000), probes: z.record(name, z.string().min(1).max(10_000)) }),
      key: name.nullable(),
      credentials: name.nullable(),
      region: z.string().max(40).nullable(),
    })
    .exactOptional(),
  streams: z
    .array(
      z.strictObject({
        way: z.discriminatedUnion('kind', [
          z.strictObject({ kind: z.literal('tcp'), port }),
          z.strictObject({ kind: z.literal('tls'), host: z.string().max(253).regex(hostPattern) }),
        ]),
        part: name,
      }),
    )
    .max(entriesMax)
    .exactOptional(),
})

/** The same as a JSON Schema (draft 2020-12), for other languages and editors: graph.schema.json. */
export function graphJsonSchema(): object {
  const about = { title: 'Stead graph', description: 'An app as data: its parts, who uses what, and the ways in.' }
  return { ...about, ...z.toJSONSchema(graphSchema) }
}
