/** Opens queues behind the HTTP interface, in the thread where they run: asks the server what it is, and says what follows. */
import { isSteadError, systemClock, systemRandom } from '../../../base/index.ts'
import { emulated, refused } from '../../capability.ts'
import type { Capabilities } from '../../capability.ts'
import type { QueueDriver } from '../../driver.ts'
import { failure } from '../../errors.ts'
import { keepingLeases } from '../../keeper.ts'
import { HttpClient } from './client.ts'
import type { HttpPlace } from './client.ts'
import { HttpDriver } from './driver.ts'
import { isRecord } from './wire.ts'
import { embeddedCapabilities } from '../ledger/capabilities.ts'

export interface HttpHostOptions {
  readonly url: string
}

/** Throws `queue.unavailable`, `queue.not-authorized`, or `queue.bad-input` for a URL that is none. */
export async function openHttpHost({ url }: HttpHostOptions): Promise<QueueDriver> {
  const client = new HttpClient(httpPlace(url))
  try {
    const { server, limits } = await client.call('GET', '/v1')
    const { bodyBytesMax, requestBytesMax, delayMsMax } = isRecord(limits) ? limits : {}
    const driver = new HttpDriver(client, {
      server: `the queue server of Stead on ${String(server)}`,
      capabilities: httpCapabilities,
      limits: { bodyBytesMax: Number(bodyBytesMax), delayMsMax: Number(delayMsMax) },
      requestBytesMax: Number(requestBytesMax),
      clock: systemClock,
      random: systemRandom,
    })
    return keepingLeases(driver, systemClock)
  } catch (error) {
    client.close()
    // Asking what a server is does nothing: whatever has broken, it can be asked again.
    if (isSteadError(error) && error.code === 'queue.outcome-unknown')
      throw failure('unavailable', error.message, 'See whether it runs; try again.', error)
    throw error
  }
}

/** What a URL of a binding says: `http://USER:PASSWORD@HOST:PORT/...`. Throws `queue.bad-input`. */
export function httpPlace(url: string): HttpPlace {
  const parsed = URL.canParse(url) ? new URL(url) : null
  if (parsed === null || parsed.protocol !== 'http:' || parsed.password === '')
    // The text is not repeated: it may hold a password.
    throw failure('bad-input', 'the URL of the queues cannot be read', 'Write http://user:password@host:port.')
  const { hostname, port, username, password } = parsed
  const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return {
    at: { host: hostname, port: Number(port === '' ? 80 : port) },
    authorization: `Basic ${Buffer.from(login).toString('base64')}`,
    shown: `the queue server at ${parsed.host}`,
  }
}

export const httpCapabilities: Capabilities = {
  ...embeddedCapabilities,
  'steady-lease': emulated('extended from a thread of the client, at each third of the lease'),
  'request-reply': refused(
    'the queue for answers of a process that dies would stay in the data of the app',
    'Let one part use the other: an edge carries questions and answers.',
  ),
}
