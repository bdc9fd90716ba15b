/** Names and addresses of queues on NATS: pure, and without the client. */
import { failure } from '../../errors.ts'

/** Where the server is and who asks. */
export interface NatsTarget {
  readonly servers: readonly string[]
  readonly credentials: { readonly user?: string; readonly pass?: string; readonly token?: string }
  readonly tls: boolean
}

/** Reads the URL. Throws `queue.bad-input`, without repeating it: it may hold a password. */
export function natsTarget(url: string): NatsTarget {
  const urls = url.split(',')
  if (!urls.every((one) => URL.canParse(one) && /^(?:nats|tls):$/.test(new URL(one).protocol))) {
    throw failure(
      'bad-input',
      'the URL of the NATS server cannot be read',
      'Write nats://user:password@host:port, or tls:// for an encrypted connection.',
    )
  }
  const parsed = urls.map((one) => new URL(one))
  const [first] = parsed
  const [user, pass] = [decodeURIComponent(first?.username ?? ''), decodeURIComponent(first?.password ?? '')]
  const credentials = user === '' ? {} : pass === '' ? { token: user } : { user, pass }
  const tls = parsed.some(({ protocol }) => protocol === 'tls:')
  return { servers: parsed.map(({ hostname, port }) => `${hostname}:${port || '4222'}`), credentials, tls }
}

/** What a queue on NATS is called by all who meet there. A queue's name has no `_`. */
export interface NatsNames {
  readonly stream: string
  readonly consumer: string
  /** What waits has this subject; whoever publishes to it sends. */
  readonly ready: string
  /** Each message for later has a subject below this one. */
  readonly later: string
  readonly deadStream: string
  readonly dead: string
}

export const consumerName = 'stead'

export function natsNames(queue: string): NatsNames {
  const name = queue.replaceAll('.', '_')
  return {
    stream: `stead_${name}`,
    consumer: consumerName,
    ready: `stead.${name}.ready`,
    later: `stead.${name}.later`,
    deadStream: `stead_${name}_dead`,
    dead: `stead.${name}.dead`,
  }
}
