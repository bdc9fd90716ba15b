/**
 * The provider of `queue`: one server of queues for each, in a sandbox, on a file in the data of the app, so that a checkpoint
 * holds its messages and a return takes them along. Invariants: what the server has answered is on the disk; the platform
 * never opens the file itself, what has to be read of copies is read by a program in the same kind of sandbox.
 */
import { assert, isSteadError, messageOf, sleep, SteadError } from '../base/index.ts'
import type { Json } from '../base/index.ts'
import type { FindOwnProgram, Grant, Metric, OwnProgram, Provider, ProviderContext } from '../provider/index.ts'
import { HttpClient } from './drivers/http/client.ts'
import type { QueueServiceOptions } from './drivers/http/service.ts'
import { digestOf, queueRights } from './drivers/http/users.ts'
import { isRecord, listIn } from './drivers/http/wire.ts'
import type { Wire } from './drivers/http/wire.ts'
import { failure } from './errors.ts'
import { bodyBytesMax, leaseMsMax } from './limits.ts'
import { defaultRetry, retryPolicy } from './retry.ts'
import { standingMetrics } from './resource-metrics.ts'
import { carryOutOrder } from './resource-orders.ts'

/** Port that consumers dial. */
export const queuePort = 7080
/** The kernel's limit for the path of a socket, less the one byte that ends it; the smallest among the systems we run on. */
const socketPathBytesMax = 103
const toolTimeoutMs = 600_000
const readyLookMs = 20

export interface QueueProviderOptions {
  /** Finds the programs of the server. */
  readonly own: FindOwnProgram
}

/** The server, and what else it loads; and the program that looks at files that nobody serves. */
const serverEntries = ['queue/drivers/http/main']
const toolEntries = ['queue/drivers/ledger/tool']

/** Makes the provider for resources of type `queue`. */
export function queueProvider({ own }: QueueProviderOptions): Provider {
  return {
    type: 'queue',
    port: queuePort,
    // SQLite writes ahead: a copy at one moment is what a crash at that moment would have left.
    capabilities: { quiesce: 'none', diff: 'exact', metered: true },

    async provision(context) {
      const program = await own(serverEntries)
      const options = serviceOptions(context)
      const memory = memoryOf(options)
      return {
        argv: program.argv,
        env: { STEAD_QUEUE: JSON.stringify(options), NODE_OPTIONS: `--max-old-space-size=${memory.heapMb}` },
        reads: program.reads,
        writes: [],
        memoryBytes: memory.bytes,
        socketPath: socketPathOf(context),
        stopSignal: 'SIGTERM',
        stopTimeoutMs: 10_000,
      }
    },

    async ready(context, timeoutMs) {
      const untilMs = context.clock.monotonicMs() + timeoutMs
      for (;;) {
        try {
          await asAdmin(context, (client) => client.call('GET', '/admin/state'))
          return
        } catch (error) {
          if (context.clock.monotonicMs() + readyLookMs < untilMs) await sleep(context.clock, readyLookMs)
          else throw notReady(context, await context.serverOutput(), error)
        }
      }
    },

    // Nothing is declared that would have to be brought into being: the server makes its queue when it starts.
    async prepare() {
      return { schema: null }
    },

    async grant(context, grant) {
      const user = { digest: digestOf(grant.password), rights: grant.rights ?? queueRights }
      await asAdmin(context, (client) => client.call('PUT', userPath(grant.user), user))
    },

    async revoke(context, user) {
      await asAdmin(context, (client) => client.call('DELETE', userPath(user)))
    },

    bind: ({ name }, grant, { host, port }) => ({ env: bindingOf(name, grant, host, port), files: [] }),

    async quiesce(context) {
      await asAdmin(context, (client) => client.call('GET', '/admin/state'))
      return { [Symbol.asyncDispose]: async () => {} }
    },

    // What is not in the file is in the log beside it, and the next opening brings it in.
    async recover() {},

    async diff(context, before, after) {
      const found = await runTool(context, own, ['diff', fileIn(before), fileIn(after)], [before, after])
      const items = listIn(found, 'items').map((item) => {
        assert(isRecord(item), 'a difference that is no object')
        const { name, added, removed, changed } = item
        return { name: String(name), added: Number(added), removed: Number(removed), changed: Number(changed) }
      })
      return { items, exact: true }
    },

    // Nothing of the later state outlives a return: its messages are in the copy that is kept, and its keys against
    // duplicates speak of messages that are gone.
    async abandon() {},

    async carry(context, _dir, generation) {
      await asAdmin(context, (client) => client.call('PUT', '/admin/generation', { generation }))
      return []
    },

    async position(context) {
      const state = await asAdmin(context, (client) => client.call('GET', '/admin/metrics'))
      const [sent, acked, purged] = [state['sent'], state['acked'], state['purged']].map(Number)
      const changed = Number(state['retried']) + Number(state['rejected'])
      const removed = (acked ?? 0) + (purged ?? 0)
      return {
        position: String(state['position']),
        countedSinceMs: Number(state['sinceMs']),
        counts: [{ name: context.name, added: sent ?? 0, removed, changed }],
      }
    },

    async durability() {
      return 'a message is accepted after an fsync of the log that SQLite writes ahead (synchronous=FULL)'
    },

    async verify(context, probe) {
      if (probe !== null)
        throw failure('bad-input', `the queue ${context.name} has no language for a probe`, 'Leave the probe out.')
      const found = await runTool(context, own, ['verify', fileIn(context.dataDir)], [context.dataDir])
      return { checks: listIn(found, 'checks').map(String) }
    },

    metrics: readMetrics,

    operate: (context, order) => asAdmin(context, (client) => carryOutOrder(client, order)),
  }
}

async function readMetrics(context: ProviderContext): Promise<readonly Metric[]> {
  return await asAdmin(context, async (client) => {
    const totals = await client.call('GET', '/admin/metrics')
    const standing = await client.call('GET', '/v1/queues')
    return standingMetrics(totals, listIn(standing, 'queues').filter(isRecord))
  })
}

/** What a consumer gets. The URL is everything in one, as curl and the library take it; who cannot read logins in URLs has them apart. */
function bindingOf(name: string, grant: Grant, host: string, port: number): Record<string, string> {
  const path = `${host}:${port}/v1/queues/${name}`
  const login = `${encodeURIComponent(grant.user)}:${encodeURIComponent(grant.password)}`
  return { QUEUE_URL: `http://${login}@${path}`, QUEUE_ENDPOINT: `http://${path}`, QUEUE_TOKEN: grant.password }
}

function serviceOptions(context: ProviderContext): QueueServiceOptions {
  const { name, adminPassword, dataDir } = context
  const config = isRecord(context.config) ? context.config : {}
  const number = (key: string, otherwise: number, max: number): number => {
    const value = config[key] ?? otherwise
    if (typeof value === 'number' && value >= 0 && value <= max) return value
    throw failure('bad-input', `the queue ${name} has ${key} ${JSON.stringify(value)}`, `At most ${max}.`)
  }
  const keys = ['attemptsMax', 'firstDelayMs', 'factor', 'delayMsMax'] as const
  const retry = Object.fromEntries(keys.map((key) => [key, number(key, defaultRetry[key], Number.MAX_SAFE_INTEGER)]))
  return {
    path: fileIn(dataDir),
    socketPath: socketPathOf(context),
    queue: name,
    adminDigest: digestOf(adminPassword),
    retry: retryPolicy(retry),
    leaseMs: number('leaseMs', 30_000, leaseMsMax),
    bodyBytesMax: number('bodyBytesMax', 1_000_000, bodyBytesMax),
    messagesMax: number('messagesMax', 1_000_000, 2 ** 40),
    bytesMax: number('bytesMax', 1_000_000_000, 2 ** 50),
  }
}

/**
 * Memory of a server at most, and of that what JavaScript may hold in megabytes: near that Node tidies up, beyond the other the
 * kernel kills. At rest it uses a tenth. Bodies are there several times while they are under way: as text, parsed, decoded.
 */
function memoryOf({ bodyBytesMax: bodyBytes }: QueueServiceOptions): {
  readonly bytes: number
  readonly heapMb: number
} {
  return { bytes: 224 * 1024 * 1024 + 16 * bodyBytes, heapMb: 96 + Math.ceil(bodyBytes / 100_000) }
}

function fileIn(dataDir: string): string {
  return `${dataDir}/queues.db`
}

function userPath(user: string): string {
  return `/admin/users/${encodeURIComponent(user)}`
}

function socketPathOf({ socketDir }: Pick<ProviderContext, 'socketDir'>): string {
  const path = `${socketDir}/queue.sock`
  const bytes = Buffer.byteLength(path)
  if (bytes <= socketPathBytesMax) return path
  const message = `the path of the queue's socket has ${bytes} bytes, and ${socketPathBytesMax} is the most: ${path}`
  throw failure('cannot-open', message, 'Use a shorter directory for sockets.')
}

/** Asks the server as its administrator. */
async function asAdmin<T>(context: ProviderContext, ask: (client: HttpClient) => Promise<T>): Promise<T> {
  const client = adminClient(context)
  try {
    return await ask(client)
  } finally {
    client.close()
  }
}

function adminClient(context: ProviderContext): HttpClient {
  return new HttpClient({
    at: { socketPath: socketPathOf(context) },
    authorization: `Bearer ${context.adminPassword}`,
    shown: `the server of the queue ${context.name}`,
  })
}

function notReady(context: ProviderContext, output: string, cause: unknown): SteadError {
  const last = output.trim().split('\n').slice(-5).join('\n')
  return failure(
    'unavailable',
    `the server of the queue ${context.name} does not answer: ${messageOf(cause)}`,
    last === '' ? 'It has said nothing.' : `It said last:\n${last}`,
    isSteadError(cause) ? cause : undefined,
  )
}

/** What the program for files that nobody serves answers, in one line of JSON. Throws with what it says is wrong. */
async function runTool(
  context: ProviderContext,
  own: FindOwnProgram,
  words: readonly string[],
  writes: readonly string[],
): Promise<Wire> {
  const program: OwnProgram = await own(toolEntries)
  const argv = [...program.argv, ...words]
  const ended = await context.run({ argv, env: {}, reads: program.reads, writes, timeoutMs: toolTimeoutMs })
  const last = ended.output.trim().split('\n').at(-1) ?? ''
  if (ended.code === 0) {
    const found: Json = JSON.parse(last) as Json
    assert(isRecord(found), 'the program for files answers an object')
    return found
  }
  throw failure(
    'corrupt',
    `the file of the queue ${context.name} cannot be used: ${last === '' ? ended.sentence : last}`,
    'Use another copy, and find out whether what this one was made from is whole.',
  )
}
