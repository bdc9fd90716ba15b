/**
 * What a queue can be asked for, and what a driver answers: it does it itself (`native`), it does it under a guarantee that
 * is said in words (`emulated`), or not (`refused`). Nothing is ever weaker than what stands here: what is refused is
 * refused when the queue is declared, before any message.
 */
import { failure } from './errors.ts'
import type { SteadError } from '../base/index.ts'

/** Everything that can be needed, with what it promises. The order is that of the tables. */
export const promises = {
  'durable-send': 'what was sent with the answer `fsync` is there after kill -9 and loss of power',
  'batch-send': 'many messages in one call, with an answer for each',
  headers: 'text headers arrive as they were sent',
  'binary-body': 'any bytes arrive as they were sent',
  'delayed-send': 'a message is not delivered before its delay is over',
  priority: 'of what waits, the higher priority is delivered first',
  'dedup-key': 'a second message with the same key within the window is not queued, and its sender is told',
  'ordering-key': 'messages of one key are delivered in their order and one at a time',
  'order-after-retry': 'the order of a key also holds when a message is tried again or its consumer dies',
  lease: 'a message whose consumer vanished is delivered again',
  'lease-extension': 'a lease can be made longer while it runs',
  'steady-lease': 'leases are extended also while the event loop of the consumer is busy',
  fencing: 'the settlement of a holder whose lease is over is refused',
  'attempt-count': 'each delivery carries how many there have been, also after crashes',
  retry: 'a message can be given back, to be delivered again at once',
  'delayed-retry': 'a message can be given back for a chosen time',
  'uncounted-retry': 'a message can be given back without counting as a failure',
  'dead-letter': 'a rejected message is kept with its cause, can be looked at, and is at no time lost',
  redrive: 'dead messages go back to the queue under their own id, with attempts at zero',
  counts: 'how many messages wait, are delayed, are held and are dead',
  peek: 'waiting messages can be seen without being taken',
  purge: 'what waits can be deleted',
  backpressure: 'a queue that is full refuses to take more, and says so',
  'no-silent-loss': 'sending to a queue that is not there is an error',
  'request-reply': 'a sender can wait for the answer to its message',
  generations: 'receipts from before the data went back are refused',
} as const

export type Capability = keyof typeof promises

/** How a driver keeps one promise. */
export type Support =
  | { readonly kind: 'native' }
  /** Kept by what Stead adds, as the guarantee says. */
  | { readonly kind: 'emulated'; readonly guarantee: string }
  /** Not kept; why, and what to do instead. */
  | { readonly kind: 'refused'; readonly reason: string; readonly instead: string }

export type Capabilities = Readonly<Record<Capability, Support>>

/** All promises in the order of the tables. */
export const capabilityNames: readonly Capability[] = Object.keys(promises).filter(isCapability)

function isCapability(name: string): name is Capability {
  return Object.hasOwn(promises, name)
}

export const native: Support = { kind: 'native' }

/** Kept under this guarantee. */
export function emulated(guarantee: string): Support {
  return { kind: 'emulated', guarantee }
}

/** Not kept. `reason` begins with what is missing; `instead` says what to do. */
export function refused(reason: string, instead: string): Support {
  return { kind: 'refused', reason, instead }
}

/** Throws `queue.unsupported`, naming everything of `needs` that `driver` refuses; also a word that is no capability. */
export function checkNeeds(
  driver: string,
  server: string,
  capabilities: Capabilities,
  needs: readonly Capability[],
): void {
  const unknown = needs.filter((name) => !isCapability(name))
  if (unknown.length > 0) {
    throw failure(
      'bad-input',
      `there is no capability ${unknown.join(', ')}`,
      `Those there are: ${capabilityNames.join(', ')}.`,
    )
  }
  const missing = needs.flatMap((name) => {
    const support = capabilities[name]
    return support.kind === 'refused' ? [{ name, ...support }] : []
  })
  if (missing.length === 0) return
  const what = missing.map(({ name, reason }) => `${name} (${reason})`).join('; ')
  throw failure(
    'unsupported',
    `queues on ${driver} (${server}) cannot do: ${what}`,
    [...new Set(missing.map(({ instead }) => instead))].join(' '),
  )
}

/** The refusal of one thing that was asked without having been declared as a need. */
export function unsupported(driver: string, name: Capability, support: Support): SteadError {
  const [reason, instead] = support.kind === 'refused' ? [support.reason, support.instead] : ['', '']
  return failure('unsupported', `queues on ${driver} cannot do: ${name} (${reason})`, instead)
}

/** The table of one driver as Markdown: what `docs/queue-matrix.md` and people see. */
export function capabilityTable(capabilities: Capabilities): string {
  const rows = capabilityNames.map((name) => `| ${name} | ${saidOf(capabilities[name])} |`)
  return ['| capability | |', '| --- | --- |', ...rows].join('\n')
}

function saidOf(support: Support): string {
  if (support.kind === 'native') return 'native'
  return support.kind === 'emulated' ? `emulated: ${support.guarantee}` : `refused: ${support.reason}`
}
