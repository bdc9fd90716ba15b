/** `ssh://[user@]host[:port][/APP]`, read with care: what comes out can be a word of a command line. Pure. */
import { SteadError } from '../base/index.ts'

export interface ServerAddress {
  /** Null: as the user's own SSH configuration says. */
  readonly user: string | null
  /** A name, an address, or an alias of that configuration. */
  readonly host: string
  readonly port: number | null
}

const form =
  /^ssh:\/\/(?:([A-Za-z0-9_][A-Za-z0-9._-]{0,63})@)?([A-Za-z0-9][A-Za-z0-9._-]{0,252}|\[[0-9A-Fa-f:]{2,45}\])(?::(\d{1,5}))?(?:\/([a-z][a-z0-9-]{0,62})?)?$/

/** Whether a word is meant as a server. */
export function isServerAddress(word: string): boolean {
  return word.startsWith('ssh://')
}

/** Throws `remote.bad-address`. */
export function parseServerAddress(word: string): { readonly address: ServerAddress; readonly app: string | null } {
  const [, user, host, port, app] = form.exec(word) ?? []
  const number = port === undefined ? null : Number(port)
  if (host === undefined || number === 0 || (number !== null && number > 65_535)) {
    throw new SteadError({
      code: 'remote.bad-address',
      message: `${JSON.stringify(word)} is not the address of a server`,
      hint: 'It is written ssh://HOST, ssh://USER@HOST:PORT, and with an app: ssh://HOST/APP.',
    })
  }
  return { address: { user: user ?? null, host: host.replace(/^\[|\]$/g, ''), port: number }, app: app ?? null }
}

/** As a person wrote it. */
export function describeServer({ user, host, port }: ServerAddress): string {
  const place = host.includes(':') ? `[${host}]` : host
  return `${user === null ? '' : `${user}@`}${place}${port === null ? '' : `:${port}`}`
}
