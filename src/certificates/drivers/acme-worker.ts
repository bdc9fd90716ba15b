/** The thread of one order: everything `acme-client` does happens in here, and what it says is one message at the end. */
import { once } from 'node:events'
import { Agent } from 'node:https'
import { rootCertificates } from 'node:tls'
import { parentPort, workerData } from 'node:worker_threads'
import { messageOf, systemCodeOf } from '../../base/index.ts'
import type { Order, OrderMessage } from './acme-order.ts'

/** For one request to the authority. */
const requestMs = 30_000

const order = workerData as Order

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
  say({ type: 'failed', message: messageOf(error), missing: systemCodeOf(error) === 'ERR_MODULE_NOT_FOUND' })
}
