/** Names and addresses of queues on Valkey: pure, and without the client. */
import { isIP } from 'node:net'
import { failure } from '../../errors.ts'

/** Where the server is and who asks. */
export interface ValkeyTarget {
  readonly host: string
  readonly port: number
  readonly username?: string
  readonly password?: string
  readonly db: number
  readonly tls?: { readonly servername?: string }
}

/** Host, credentials and database of a URL. Throws `queue.bad-input`, without repeating it: it may hold a password. */
export function valkeyTarget(url: string): ValkeyTarget {
  const parsed = URL.parse(url)
  const db = Number(parsed?.pathname.slice(1) ?? 0)
  if (parsed === null || !/^(?:valkey|redis)s?:$/.test(parsed.protocol) || !Number.isInteger(db)) {
    throw failure(
      'bad-input',
      'the URL of the Valkey server cannot be read',
      'Write valkey://user:password@host:port/0, or valkeys:// for an encrypted connection.',
    )
  }
  const { username, password, port, protocol } = parsed
  const host = parsed.hostname.replace(/^\[(.*)\]$/, '$1')
  return {
    host,
    port: Number(port === '' ? 6379 : port),
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
    db,
    // The name in a certificate is that of a host: an address has none to ask for.
    ...(/^(?:valkeys|rediss):$/.test(protocol) ? { tls: isIP(host) === 0 ? { servername: host } : {} } : {}),
  }
}

/** What all keys of a queue begin with. */
export function baseOf(queue: string): string {
  return `stead:{${queue}}`
}
