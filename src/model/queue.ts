/**
 * A queue of the app: what `queue()` makes. What its options mean is the library's (`stead/queue`); here they get their units and
 * bounds, and become the plain config that the provider reads.
 */
import { checkName, checkNumber, checkOptions, readBytes, readDuration } from './check.ts'
import { resource } from './resource.ts'
import { narrowable } from './rights.ts'
import type { Narrowable } from './rights.ts'
import type { Bytes, Duration } from './units.ts'

/** A queue whose messages are `Message`, for the types of the parts that use it: see `MessageOf`. */
export interface Queue<Message = unknown> extends Narrowable<'queue'> {
  /** There at compile time alone. */
  readonly message?: Message
}

/** What the messages of a queue are: `type Mail = MessageOf<typeof mail>`. */
export type MessageOf<Q extends Queue> = NonNullable<Q['message']>

/** How a queue treats its messages, whoever consumes them. A consumer may give up earlier than this, never later. */
export interface QueueOptions {
  readonly retry?: QueueRetryOptions
  /** How long a message stays with a consumer that shows no sign of life, unless the consumer asks for another time. 1s to 12h, default 30s. */
  readonly lease?: Duration
  /** Largest body of a message. 1KB to 16MB, default 1MB. */
  readonly message?: Bytes
  /** Messages that may wait before senders are refused. 1 to 100 million, default 1 million. */
  readonly backlog?: number
  /** Room on the disk before senders are refused. 16MB to 1TB, default 1GB. */
  readonly disk?: Bytes
}

export interface QueueRetryOptions {
  /** Deliveries of one message, the first included; then it is a dead letter. 1 to 1000, default 5. */
  readonly attempts?: number
  /** Before the second one. 0ms to 1d, default 1s. */
  readonly pause?: Duration
  /** What each further pause is longer by. 1 to 100, default 4. */
  readonly factor?: number
  /** The longest pause. 0ms to 30d, default 5m. */
  readonly pauseMax?: Duration
}

const dayMs = 86_400_000

/**
 * A queue: at least once, on the disk before its sender is told, in the app's data and so in every checkpoint. Users get
 * `QUEUE_URL`. `mail.only('send')` is a use with less than all rights. Throws `model.*` as `resource` does.
 */
export function queue<Message = unknown>(name: string, options: QueueOptions = {}): Queue<Message> {
  checkName('queue', name)
  const owner = `queue '${name}'`
  checkOptions(owner, options, ['retry', 'lease', 'message', 'backlog', 'disk'])
  const { backlog = 1_000_000 } = options
  const retry: QueueRetryOptions = options.retry ?? {}
  const hint = "As in retry: { attempts: 5, pause: '1s' }."
  checkOptions(owner, retry, ['attempts', 'pause', 'factor', 'pauseMax'], 'retry')
  const { attempts = 5, pause = '1s', factor = 4, pauseMax = '5m' } = retry
  checkNumber(owner, 'retry.attempts', attempts, { min: 1, max: 1000, whole: true, hint })
  checkNumber(owner, 'retry.factor', factor, { min: 1, max: 100, whole: false, hint })
  const waiting = 'Messages that wait; beyond it senders are told to come back later.'
  checkNumber(owner, 'backlog', backlog, { min: 1, max: 100_000_000, whole: true, hint: waiting })
  return narrowable(
    resource('queue', name, {
      attemptsMax: attempts,
      firstDelayMs: readDuration(owner, 'retry.pause', pause, 0, dayMs),
      factor,
      delayMsMax: readDuration(owner, 'retry.pauseMax', pauseMax, 0, 30 * dayMs),
      leaseMs: readDuration(owner, 'lease', options.lease ?? '30s', 1000, dayMs / 2),
      bodyBytesMax: readBytes(owner, 'message', options.message ?? '1MB', 1000, 16_000_000),
      messagesMax: backlog,
      bytesMax: readBytes(owner, 'disk', options.disk ?? '1GB', 16_000_000, 1_000_000_000_000),
    }),
  )
}
