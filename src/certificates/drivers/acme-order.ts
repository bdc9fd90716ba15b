/**
 * One order at an ACME authority, carried out by `acme-client` in a thread of its own: it is loaded only while it is needed,
 * gives its memory back, and can be ended whatever it waits for.
 */
import { extname, join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { SteadError } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'

/** What the thread is given. */
export interface Order {
  readonly directoryUrl: string
  /** PEM. */
  readonly accountKey: string
  readonly email: string | null
  readonly host: string
  /** PEM. */
  readonly csr: string
  readonly roots: string | null
}

export interface OrderContext {
  readonly clock: Clock
  readonly signal: AbortSignal
  /** From now on this token is to be answered with this text. */
  readonly onChallenge: (token: string, answer: string) => void
}

/** Answers the chain in PEM, leaf first. */
export type PlaceOrder = (order: Order, context: OrderContext) => Promise<string>

/** What the thread says. */
export type OrderMessage =
  | { readonly type: 'challenge'; readonly token: string; readonly answer: string }
  | { readonly type: 'done'; readonly chain: string }
  | { readonly type: 'failed'; readonly message: string; readonly missing: boolean }

/** An order that is not done by then is given up. */
const orderMs = 5 * 60_000

/** Places an order. Throws `certificates.no-client`, `certificates.order-timeout`, and the authority's reason as an Error. */
export const placeOrder: PlaceOrder = async (order, { clock, signal, onChallenge }) => {
  const path = join(import.meta.dirname, `acme-worker${extname(import.meta.filename)}`)
  const worker = new Worker(path, { workerData: order, stdout: true, stderr: true })
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const timer = clock.after(orderMs, () => reject(timedOut(order)))
  const onAbort = (): void => reject(new Error('it was stopped'))
  signal.addEventListener('abort', onAbort, { once: true })
  worker.on('message', (message: OrderMessage) => {
    if (message.type === 'done') return resolve(message.chain)
    if (message.type === 'failed') return reject(message.missing ? noClient() : new Error(message.message))
    onChallenge(message.token, message.answer)
    worker.postMessage('placed', [])
  })
  worker.on('error', reject)
  worker.on('exit', (code) => reject(new Error(`the client ended with ${code}`)))
  try {
    return await promise
  } finally {
    timer[Symbol.dispose]()
    signal.removeEventListener('abort', onAbort)
    await worker.terminate()
  }
}

function timedOut({ host, directoryUrl }: Order): SteadError {
  return new SteadError({
    code: 'certificates.order-timeout',
    message: `${directoryUrl} did not finish the order for ${host} within ${orderMs / 60_000} minutes.`,
    hint: 'It is tried again by itself.',
    retry: 'later',
  })
}

function noClient(): SteadError {
  return new SteadError({
    code: 'certificates.no-client',
    message: 'The ACME client is not installed.',
    hint: 'Install it beside stead: npm install acme-client',
    retry: 'later',
  })
}
