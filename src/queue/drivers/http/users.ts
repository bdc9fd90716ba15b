/**
 * Who may use a server of queues: the logins that were let in, each with its rights. They are kept in memory and by digest
 * only: whoever runs the server lets them in again when it starts. Invariant: a password belongs to one login.
 */
import { createHash } from 'node:crypto'
import { failure } from '../../errors.ts'

/** `send`: send. `receive`: receive and settle. `manage`: peek, redrive, purge, make and delete queues. */
export const queueRights = ['send', 'receive', 'manage'] as const
export type QueueRight = (typeof queueRights)[number]

/** A login that is let in. */
export interface QueueUser {
  readonly name: string
  readonly rights: readonly QueueRight[]
}

/** Name of the administrator, whom no login can be called. */
export const adminName = '_admin'

/** What a password is known by here. Passwords are random, so that one round is as good as many. */
export function digestOf(password: string): string {
  return createHash('sha256').update(password).digest('hex')
}

export class QueueUsers {
  readonly #byDigest = new Map<string, QueueUser>()

  constructor(adminDigest: string) {
    this.#byDigest.set(adminDigest, { name: adminName, rights: queueRights })
  }

  /** Lets a login in; again with another password, the new one holds. */
  put(user: QueueUser, digest: string): void {
    this.remove(user.name)
    this.#byDigest.set(digest, user)
  }

  remove(name: string): void {
    for (const [digest, user] of this.#byDigest) if (user.name === name) this.#byDigest.delete(digest)
  }

  /** Whose credential this is: `Bearer PASSWORD`, or `Basic` with the name too. Throws `queue.not-authorized`. */
  find(authorization: string | undefined): QueueUser {
    const [, scheme = '', credential = ''] = /^(bearer|basic) +(\S+) *$/i.exec(authorization ?? '') ?? []
    const bearer = scheme.toLowerCase() === 'bearer'
    const text = bearer ? `:${credential}` : Buffer.from(credential, 'base64').toString()
    const name = text.slice(0, text.indexOf(':'))
    // Looked up by its digest: how long that takes tells nothing of the passwords there are.
    const user = this.#byDigest.get(digestOf(text.slice(text.indexOf(':') + 1)))
    if (scheme !== '' && user !== undefined && (bearer || user.name === name)) return user
    const what = authorization === undefined ? 'no credential was given' : 'the credential is not valid here'
    throw failure('not-authorized', what, 'Use the token of the binding: Authorization: Bearer $QUEUE_TOKEN.')
  }
}
