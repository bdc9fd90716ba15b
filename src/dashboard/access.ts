/**
 * Who is let in, pure: login tokens that work once and not for long, and the sessions they open. A session is proven by
 * two halves: a cookie, which scripts cannot read, and a key, which only the storage of the dashboard's own origin holds.
 * Cookies do not know ports, so the cookie alone would be given to any other server on this machine.
 *
 * Invariants: of a token or a half only the digest is kept; a token opens one session at most; a session never has more
 * rights than whoever asked for its token has at that moment, nor any that no page uses; what is too old or too many is forgotten. Sessions
 * outlive the process that made them, where it has a place to keep them; logins do not.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { z } from 'zod'
import { type Clock, type Random, randomPassword } from '../base/index.ts'
import type { Caller, Right } from '../operator/index.ts'

/** The rights that pages use, that to deploy only in part (`mayDeploy`). Others stay with the command line, whoever asks. */
const rightsUsed: readonly Right[] = ['read', 'logs', 'operate', 'deploy', 'debug']

/** How long a login token works. */
export const loginMs: number = 15 * 60_000
/** How long a session lasts without a request, and at most. */
export const idleMs: number = 8 * 3_600_000
export const sessionMs: number = 24 * 3_600_000

export const loginsMax = 20
export const sessionsMax = 50

/** Wrong tokens taken in a minute; then none is looked at until the minute is over. */
export const wrongMax = 20
const wrongWindowMs = 60_000

interface Login {
  readonly caller: Caller
  readonly untilMs: number
}

export interface Session {
  readonly caller: Caller
  /** Open streams of its pages. */
  streams: number
  /** Aborts when the session is over, however that comes. */
  readonly over: AbortController
}

interface Kept {
  readonly session: Session
  readonly key: Buffer
  readonly untilMs: number
  usedMs: number
}

/** Where sessions are kept over restarts. What is written holds digests only. */
export interface Keeper {
  /** Whose session it was, with what he may now; null when there is nobody of that name. */
  callerOf(name: string, from: string): Caller | null
  /** What was written last; null when there is nothing that can be read. */
  read(): unknown
  write(sessions: unknown): void
}

const keptSessions = z.array(
  z.object({
    cookie: z.string(),
    key: z.string(),
    name: z.string(),
    from: z.string(),
    /** By the wall clock. */
    untilMs: z.number(),
  }),
)

/** Both halves of a new session, in clear for the last time. */
export interface Opened {
  readonly cookie: string
  readonly key: string
}

export class Access {
  readonly #clock: Clock
  readonly #random: Random
  /** By the digest of the token, oldest first. */
  readonly #logins = new Map<string, Login>()
  /** By the digest of the cookie, oldest first. */
  readonly #sessions = new Map<string, Kept>()
  readonly #keeper: Keeper | null
  #wrong = { count: 0, sinceMs: 0 }

  constructor(clock: Clock, random: Random, keeper: Keeper | null) {
    this.#clock = clock
    this.#random = random
    this.#keeper = keeper
    this.#restore()
  }

  /** A token that opens one session for this caller. Of too many, the oldest stops working. */
  issue(caller: Caller): string {
    const token = randomPassword(this.#random)
    this.#logins.set(digestOf(token).toString('hex'), { caller, untilMs: this.#clock.monotonicMs() + loginMs })
    trim(this.#logins, loginsMax, () => {})
    return token
  }

  /** Opens a session; null when the token is wrong, used or too old. `wait`: too many were wrong. */
  redeem(token: string): Opened | 'wait' | null {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#wrong.sinceMs >= wrongWindowMs) this.#wrong = { count: 0, sinceMs: nowMs }
    if (this.#wrong.count >= wrongMax) return 'wait'
    const digest = digestOf(token).toString('hex')
    const login = this.#logins.get(digest)
    this.#logins.delete(digest)
    if (login === undefined || login.untilMs <= nowMs) {
      this.#wrong.count += 1
      return null
    }
    const opened = { cookie: randomPassword(this.#random), key: randomPassword(this.#random) }
    const session: Session = { caller: limited(login.caller), streams: 0, over: new AbortController() }
    this.#sessions.set(digestOf(opened.cookie).toString('hex'), {
      session,
      key: digestOf(opened.key),
      untilMs: nowMs + sessionMs,
      usedMs: nowMs,
    })
    trim(this.#sessions, sessionsMax, ({ session: oldest }) => oldest.over.abort())
    this.#keep()
    return opened
  }

  /** The session that both halves belong to; null when there is none. Using it keeps it. */
  session(cookie: string, key: string): Session | null {
    const digest = digestOf(cookie).toString('hex')
    const kept = this.#sessions.get(digest)
    if (kept === undefined || !equal(kept.key, digestOf(key))) return null
    const nowMs = this.#clock.monotonicMs()
    if (kept.untilMs <= nowMs || kept.usedMs + idleMs <= nowMs) {
      this.#end(digest)
      return null
    }
    kept.usedMs = nowMs
    return kept.session
  }

  /** Ends a session, and its streams with it. */
  end(cookie: string): void {
    this.#end(digestOf(cookie).toString('hex'))
  }

  #end(digest: string): void {
    this.#sessions.get(digest)?.session.over.abort()
    if (this.#sessions.delete(digest)) this.#keep()
  }

  #keep(): void {
    const aheadMs = this.#clock.nowMs() - this.#clock.monotonicMs()
    this.#keeper?.write(
      [...this.#sessions].map(([cookie, { session, key, untilMs }]) => ({
        cookie,
        key: key.toString('hex'),
        name: session.caller.name,
        from: session.caller.from,
        untilMs: Math.round(untilMs + aheadMs),
      })),
    )
  }

  /** Takes back the sessions of the process before. None gets more time than it had. */
  #restore(): void {
    const kept = keptSessions.safeParse(this.#keeper?.read())
    const nowMs = this.#clock.monotonicMs()
    for (const { cookie, key, name, from, untilMs } of kept.success ? kept.data : []) {
      const leftMs = Math.min(untilMs - this.#clock.nowMs(), sessionMs)
      const caller = this.#keeper?.callerOf(name, from) ?? null
      if (leftMs <= 0 || caller === null) continue
      const session: Session = { caller: limited(caller), streams: 0, over: new AbortController() }
      this.#sessions.set(cookie, { session, key: Buffer.from(key, 'hex'), untilMs: nowMs + leftMs, usedMs: nowMs })
    }
  }
}

/** The caller with the rights that pages use, and no other. */
function limited(caller: Caller): Caller {
  const { name, from } = caller
  return { name, from, may: (right, app) => rightsUsed.includes(right) && caller.may(right, app) }
}

function equal(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}

function digestOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest()
}

/** Drops the oldest entries beyond `max`. */
function trim<T>(map: Map<string, T>, max: number, onDrop: (value: T) => void): void {
  for (const [key, value] of map) {
    if (map.size <= max) return
    map.delete(key)
    onDrop(value)
  }
}
