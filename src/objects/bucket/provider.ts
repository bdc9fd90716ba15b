/**
 * The provider of `bucket`: the embedded S3 server in the sandbox of the resource, for one bucket, with its data in the app's
 * domain. What the platform does with it is asked of the server; what is done with copies is done by the same program.
 *
 * Invariants: what was answered is on the disk and in every checkpoint taken later; a consumer's key holds for this bucket,
 * with the rights of its use; ids and cursors of a time that was left mean nothing after it.
 */
import { messageOf, randomPassword, sleep, SteadError } from '../../base/index.ts'
import type { Json } from '../../base/index.ts'
import type {
  FindOwnProgram,
  Grant,
  Metric,
  Provider,
  ProviderContext,
  ProviderServer,
  ResourceDiff,
} from '../../provider/index.ts'
import { askServer, consumersPath } from '../drivers/bucket/admin.ts'
import type { BucketState } from '../drivers/bucket/admin.ts'
import type { Compared } from '../drivers/bucket/compare.ts'
import type { Works } from '../drivers/bucket/main.ts'
import { readBucketConfig } from './config.ts'
import { frontMemoryBytes, hostedBucket, isHosted, readHostedConfig } from './hosted.ts'
import type { HostedParts } from './hosted.ts'

export interface BucketProviderOptions {
  /** Finds the program of the server on this machine. */
  readonly own: FindOwnProgram
}

/** Port that consumers dial. */
const port = 9000
const region = 'us-east-1'
/** The module that runs in the sandbox. */
const entry = 'objects/drivers/bucket/main'
const workMs = 600_000
/** Every byte is read. */
const verifyMs = 6 * 3_600_000
/** What a process of Node may take for objects of its own; buffers are outside of it. */
const heapMegabytes = 128
/** Threads that wait for the disk: each sync holds one, and with Node's four a few writers would hold up all who read. */
const diskThreads = 16

type ServerProgram = Pick<ProviderServer, 'argv' | 'env' | 'reads' | 'memoryBytes'>

/** Makes the provider for resources of type `bucket`. */
export function bucketProvider({ own }: BucketProviderOptions): Provider {
  /** A work as a program for the sandbox. */
  const programFor = async <Work extends keyof Works>(
    work: Work,
    options: Works[Work],
  ): Promise<{ argv: readonly string[]; env: Record<string, string>; reads: readonly string[] }> => {
    const { argv, reads } = await own([entry])
    const env = { NODE_OPTIONS: `--max-old-space-size=${heapMegabytes}`, UV_THREADPOOL_SIZE: `${diskThreads}` }
    return { argv: [...argv, work, JSON.stringify(options)], env, reads }
  }

  /** Runs a work on copies to its end; answers what it says. */
  const runWork = async <Work extends keyof Works>(
    context: ProviderContext,
    work: Work,
    options: Works[Work],
    how: { readonly writes: readonly string[]; readonly timeoutMs?: number; readonly env?: Record<string, string> },
  ): Promise<string> => {
    const { writes, timeoutMs = workMs, env = {} } = how
    const program = await programFor(work, options)
    const result = await context.run({ ...program, env: { ...program.env, ...env }, writes, timeoutMs })
    const lines = result.output.trimEnd().split('\n')
    if (result.code === 0) return lines.at(-1) ?? ''
    throw new SteadError({
      code: `objects.cannot-${work}`,
      message: `bucket ${context.name}: ${lines.at(-1) ?? ''} (${result.sentence})`,
      hint: 'The copy stays as it is.',
      retry: result.code === 2 ? 'never' : 'later',
    })
  }

  /** The server of a bucket, or the front of one that is hosted elsewhere. */
  const serverOf = async ({ name, dataDir, socketDir, config }: ProviderContext): Promise<ServerProgram> => {
    if (isHosted(config)) {
      const { corsOrigins } = readHostedConfig(name, config)
      return { ...(await programFor('front', { name, socketDir, corsOrigins })), memoryBytes: frontMemoryBytes }
    }
    const { memoryBytes, ...settings } = readBucketConfig(name, config)
    return { ...(await programFor('serve', { ...settings, name, dataDir, socketDir })), memoryBytes }
  }

  const ownHere: HostedParts = {
    endpoint: () => null,
    prepare: () => Promise.resolve({ schema: null }),

    // Every state of its files that a crash could leave is whole.
    quiesce: () => Promise.resolve({ [Symbol.asyncDispose]: async () => {} }),
    recover: () => Promise.resolve(),

    async diff(context, before, after): Promise<ResourceDiff> {
      const { name } = context
      const said = await runWork(context, 'compare', { name, before, after }, { writes: [before, after] })
      const { items, older }: Compared = JSON.parse(said)
      return { items, exact: true, ...(older === null ? {} : { gaps: [older] }) }
    },

    async carry(context, _dir, generation) {
      await askServer(context, 'advance', { generation })
      return []
    },

    async position(context) {
      const { happened, startedMs, held } = await askServer(context, 'state', null)
      const position = `${held.objects} objects, ${held.bytes} bytes`
      return { position, countedSinceMs: startedMs, counts: [{ name: context.name, ...happened }] }
    },

    async replay(context, from, { table, where }) {
      const { name, socketDir } = context
      if (where !== null) {
        throw new SteadError({
          code: 'objects.bad-replay',
          message: `bucket ${name} takes no condition`,
          hint: `Name one object, or ${name} for all.`,
        })
      }
      const user = 'stead_replay'
      const password = randomPassword(context.random)
      await askServer(context, 'grant', { user, password, rights: null })
      try {
        const options = { name, from, socketDir, accessKeyId: user, what: table }
        const how = { writes: [from], env: { STEAD_REPLAY_SECRET: password } }
        return Number(await runWork(context, 'replay', options, how))
      } finally {
        await askServer(context, 'revoke', { user })
      }
    },

    async verify(context, probe) {
      const { name, dataDir: dir } = context
      const how = { writes: [], timeoutMs: verifyMs }
      const checks: readonly string[] = JSON.parse(await runWork(context, 'verify', { name, dir, probe }, how))
      return { checks }
    },
  }
  const hosted = hostedBucket()
  const of = ({ config }: { readonly config: Json }): HostedParts => (isHosted(config) ? hosted : ownHere)

  return {
    type: 'bucket',
    port,
    capabilities: { quiesce: 'none', diff: 'exact', metered: true },

    async provision(context) {
      const { socketDir } = context
      return {
        ...(await serverOf(context)),
        writes: [],
        socketPath: consumersPath(socketDir),
        stopSignal: 'SIGTERM',
        stopTimeoutMs: 10_000,
      }
    },

    async ready(context, timeoutMs) {
      const deadlineMs = context.clock.monotonicMs() + timeoutMs
      for (;;) {
        const failed = await askServer(context, 'ready', null).catch((error: unknown) => error)
        if (failed === null) return
        if (context.clock.monotonicMs() >= deadlineMs) {
          throw new SteadError({
            code: 'objects.not-ready',
            message: `bucket ${context.name} does not answer: ${messageOf(failed)}`,
            hint: (await context.serverOutput()) || 'Its server has said nothing.',
            retry: 'later',
          })
        }
        await sleep(context.clock, 25)
      }
    },

    endpoint: (context) => of(context).endpoint(context),
    prepare: (context) => of(context).prepare(context),

    async grant(context, { user, password, rights }) {
      await askServer(context, 'grant', { user, password, rights: rights ?? null })
    },

    async revoke(context, user) {
      await askServer(context, 'revoke', { user })
    },

    bind: ({ name }, grant, target) => ({ env: environmentOf(name, grant, target), files: [] }),

    quiesce: (context) => of(context).quiesce(context),
    recover: (context) => of(context).recover(context),
    diff: (context, before, after) => of(context).diff(context, before, after),
    // Nothing that is in the data has to outlive it: what was handed out carries the generation.
    abandon: () => Promise.resolve(),
    carry: (context, dir, generation) => of(context).carry(context, dir, generation),
    position: (context) => of(context).position(context),
    replay: (context, from, order) => of(context).replay(context, from, order),
    verify: (context, probe) => of(context).verify(context, probe),

    async metrics(context) {
      const all = metricsOf(await askServer(context, 'state', null))
      // What is in it, only its keeper knows.
      return isHosted(context.config) ? all.filter(({ name }) => !heldMetrics.includes(name)) : all
    },
  }
}

/** What programs and client libraries read; the address is a number, so that they put the bucket into the path. */
function environmentOf(
  name: string,
  { user, password }: Grant,
  target: { readonly address: string; readonly port: number },
): Record<string, string> {
  return {
    AWS_ENDPOINT_URL_S3: `http://${target.address}:${target.port}`,
    AWS_ACCESS_KEY_ID: user,
    AWS_SECRET_ACCESS_KEY: password,
    AWS_REGION: region,
    // What some libraries read in its place.
    AWS_DEFAULT_REGION: region,
    BUCKET_NAME: name,
  }
}

/** The metrics of what a bucket holds. */
const heldMetrics = ['bucket_objects', 'bucket_versions', 'bucket_size_bytes']

function metricsOf({ held, requests, connections }: BucketState): readonly Metric[] {
  const gauge = (name: string, help: string, value: number): Metric => ({ name, kind: 'gauge', help, value })
  const counter = (name: string, help: string, value: number): Metric => ({ name, kind: 'counter', help, value })
  return [
    gauge('bucket_objects', 'objects that a listing shows', held.objects),
    gauge('bucket_versions', 'versions of objects, delete markers among them', held.versions),
    gauge('bucket_size_bytes', 'bytes of all versions', held.bytes),
    gauge('bucket_connections', 'connections that are open', connections),
    counter('bucket_reads_total', 'requests that read', requests.read),
    counter('bucket_writes_total', 'requests that write or delete', requests.written),
    counter('bucket_refused_total', 'requests that were refused', requests.refused),
    counter('bucket_failures_total', 'requests that failed here', requests.failed),
    counter('bucket_received_bytes_total', 'bytes that were sent to it', requests.bytesIn),
    counter('bucket_sent_bytes_total', 'bytes that were fetched from it', requests.bytesOut),
  ]
}
