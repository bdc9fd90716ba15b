/** The thread of one order: everything `acme-client` does happens in here, and what it says is one message at the end. */
import { subscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { Agent } from 'node:https'
import { rootCertificates } from 'node:tls'
import { parentPort, workerData } from 'node:worker_threads'
import { messageOf, systemCodeOf } from '../../base/index.ts'
import type { Order, OrderMessage } from './acme-order.ts'

/** For one request to the authority. */
const requestMs = 30_000

const order = workerData as Order

/** Why the last connection failed: the client forgets it when no answer came at all. */
const failures: string[] = []
subscribe('http.client.request.error', (message) => {
  if (typeof message === 'object' && message !== null && 'error' in message) failures.push(messageOf(message.error))
})

function say(message: OrderMessage): void {
  parentPort?.postMessage(message, [])
}

async function run(): Promise<string> {
  const { default: acme } = await import('acme-client')
  acme.axios.defaults.timeout = requestMs
  // Trying again is decided outside, with longer waits.
  Object.assign(acme.axios.defaults, { acmeSettings: { retryMaxAttempts: 1, retryDefaultDelay: 1 } })
  if (order.roots !== null) acme.axios.defaults.httpsAgent = new Agent({ ca: [...rootCertificates, order.roots] })
  const client = new acme.Client({
    directoryUrl: order.directoryUrl,
    accountKey: order.accountKey,
    backoffMin: 1_000,
    backoffMax: 10_000,
  })
  return client.auto({
    csr: order.csr,
    ...(order.email === null ? {} : { email: order.email }),
    termsOfServiceAgreed: true,
    // The authority looks for itself; from here the way may be another.
    skipChallengeVerification: true,
    challengePriority: ['http-01'],
    challengeCreateFn: async (_authorization, { token }, answer) => {
      say({ type: 'challenge', token, answer })
      if (parentPort !== null) await once(parentPort, 'message')
    },
    challengeRemoveFn: () => Promise.resolve(),
  })
}

try {
  say({ type: 'done', chain: await run() })
} catch (error) {
  const message = error instanceof TypeError ? (failures.at(-1) ?? error.message) : messageOf(error)
  say({ type: 'failed', message, missing: systemCodeOf(error) === 'ERR_MODULE_NOT_FOUND' })
}
