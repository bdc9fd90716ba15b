/**
 * Who is let in, and the record of it: people and tokens on one side, the audit record on the other. Invariants: an
 * operation that changes something has a durable line before it begins and one before it is answered; what cannot be
 * recorded is not done; a wrong token learns nothing and soon gets no more tries.
 */
import { join } from 'node:path'
import { type Clock, isSteadError, messageOf, type Random, sleep, SteadError } from '../base/index.ts'
import type { Event, Line, Verdict } from './audit.ts'
import { type AuditLimits, type AuditRecord, type LineFilter, openAudit } from './audit-file.ts'
import { type Caller, owner, type Right } from './caller.ts'
import { Counts } from './counts.ts'
import { allows, grant, type Grant, issueToken, type People, prove, remove, revokeTokens } from './people.ts'
import { readPeople, writeKeys, writePeople } from './people-file.ts'

export interface GateOptions {
  /** Where people and record are kept. */
  readonly directory: string
  /** The `authorized_keys` of the account that the platform runs as; null: keys are not written. */
  readonly keysPath: string | null
  /** The words that start `stead` on this machine. */
  readonly entrance: readonly string[]
  readonly clock: Clock
  readonly random: Random
  readonly auditLimits?: AuditLimits
  readonly onNotice: (text: string) => void
}

/** Wrong secrets for one token, before it is not looked at any more for the rest of the time. */
const wrongMax = 10
const wrongWindowMs = 60_000
/** A wrong token waits so long for its refusal. */
const wrongPauseMs = 300
/** Of what comes over and over so many are recorded one by one in a time, and of the rest the number: who asks often must not push out what was changed. */
const recorded = {
  refusals: { max: 60, windowMs: 60_000 },
  logins: { max: 1, windowMs: 600_000 },
  looks: { max: 10, windowMs: 600_000 },
} as const

/** What is about to happen, for the record. */
export interface Deed {
  readonly caller: Caller
  readonly operation: string
  readonly app: string | null
  readonly part: string | null
}

/**
 * Opens people and record. A list that is damaged is told, and keeps nobody else from working. Throws
 * `operator.people-unreadable`.
 */
export async function openGate(options: GateOptions): Promise<Gate> {
  const people = await readPeople(join(options.directory, 'people.json'), options)
  const audit = await openAudit(join(options.directory, 'audit'), options.clock, options.auditLimits)
  const gate = new Gate(options, people, audit)
  // A change of the place where stead lies, or a crash between the two files, is mended here.
  if (options.keysPath !== null && people.some(({ sshKeys }) => sshKeys.length > 0))
    await writeKeys(options.keysPath, options.entrance, people).catch((error: unknown) =>
      options.onNotice(messageOf(error)),
    )
  return gate
}

/** Made by `openGate`. */
export class Gate implements AsyncDisposable {
  readonly #options: GateOptions
  readonly #audit: AuditRecord
  readonly #wrong = new Counts()
  readonly #often = new Counts()
  readonly #listeners = new Set<() => void>()
  #people: People
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: GateOptions, people: People, audit: AuditRecord) {
    this.#options = options
    this.#people = people
    this.#audit = audit
  }

  get people(): People {
    return this.#people
  }

  /** Calls `run` when somebody's rights may have changed. */
  onChange(run: () => void): Disposable {
    this.#listeners.add(run)
    return { [Symbol.dispose]: () => this.#listeners.delete(run) }
  }

  /** Who holds the token of an `authorization` header. Throws `operator.unauthorized`, `operator.token-expired`, `operator.too-many-tries`. */
  async callerOf(authorization: string | undefined): Promise<Caller> {
    const nowMs = this.#options.clock.nowMs()
    const text = /^bearer (\S+)$/i.exec(authorization ?? '')?.[1] ?? ''
    const id = text.split('_')[1] ?? ''
    const known = this.#people.some(({ tokens }) => tokens.some((token) => token.id === id))
    const locked = known && this.#wrong.of(id, nowMs, wrongWindowMs) >= wrongMax
    const proof = locked ? ({ kind: 'locked' } as const) : prove(this.#people, text, nowMs)
    if (proof.kind === 'person') return this.#person(proof.name, `token ${proof.token}`, proof.token)
    if (proof.kind === 'stranger' && known) this.#wrong.add(id, nowMs, wrongWindowMs, wrongMax)
    const refusal = refusalOf(proof, authorization === undefined)
    const name = proof.kind === 'expired' ? proof.name : 'unknown'
    const from = known ? `token ${id}` : 'socket'
    await this.refused({ caller: { name, from, may: () => false }, operation: 'login', app: null, part: null }, refusal)
    if (proof.kind !== 'expired') await sleep(this.#options.clock, wrongPauseMs)
    throw refusal
  }

  /** A person whom sshd has identified by a key, or the owner. Throws `operator.unauthorized`, `operator.token-expired`. */
  async callerAs(name: string, from: string): Promise<Caller> {
    const caller = name === 'owner' ? owner(from) : this.#person(name, from, null)
    const deed = { caller, operation: 'login', app: null, part: null }
    const person = this.#people.find((candidate) => candidate.name === name)
    const ended =
      person !== undefined && person.expiresAtMs !== null && person.expiresAtMs <= this.#options.clock.nowMs()
    if (name === 'owner' || (person !== undefined && !ended)) {
      await this.#sparingly('logins', deed, null)
      return caller
    }
    const refusal = new SteadError({
      code: ended ? 'operator.token-expired' : 'operator.unauthorized',
      message: ended
        ? `the access of ${name} ended at ${new Date(person.expiresAtMs ?? 0).toISOString()}`
        : `there is no person called ${name} here any more`,
      hint: 'Ask whoever runs the platform.',
    })
    await this.refused(deed, refusal)
    throw refusal
  }

  /** Somebody who has proven before to be this person: what he may is asked anew each time. `from` is as it was then. */
  known(name: string, from: string): Caller {
    const token = /^token (\S+)$/.exec(from)?.[1] ?? null
    return name === 'owner' ? owner(from) : this.#person(name, from, token)
  }

  /** Records that something was refused. */
  async refused(deed: Deed, refusal: SteadError): Promise<void> {
    await this.#sparingly('refusals', deed, refusal.code)
  }

  /** Records a look at something, before it is shown. Throws `operator.not-recorded`. */
  async looked(deed: Deed): Promise<void> {
    await this.#sparingly('looks', deed, null)
  }

  /** Records that a change begins; answers what records its end. Throws `operator.not-recorded`, and then nothing may be done. */
  async begin(deed: Deed): Promise<(error: unknown) => Promise<void>> {
    const event = named(deed)
    const { n } = await this.#audit.append({ ...event, outcome: 'begun', code: null, of: null, omitted: 0 }, true)
    return async (error) => {
      const code = error === null ? null : isSteadError(error) ? error.code : 'operator.internal'
      await this.#audit.append({ ...event, outcome: error === null ? 'done' : 'failed', code, of: n, omitted: 0 }, true)
    }
  }

  grant(asked: Grant): Promise<void> {
    return this.#change((people) => [grant(people, asked, this.#options.clock.nowMs()), undefined])
  }

  remove(name: string): Promise<void> {
    return this.#change((people) => [remove(people, name), undefined])
  }

  revokeTokens(name: string): Promise<void> {
    return this.#change((people) => [revokeTokens(people, name), undefined])
  }

  /** A new token of a person: told once. */
  issueToken(name: string, expiresAtMs: number): Promise<{ readonly token: string; readonly id: string }> {
    const { clock, random } = this.#options
    return this.#change((people) => {
      const issued = issueToken(people, name, expiresAtMs, clock.nowMs(), random)
      return [issued.people, { token: issued.token, id: issued.id }]
    })
  }

  lines(filter: LineFilter): AsyncIterable<Line> {
    return this.#audit.lines(filter)
  }

  verify(contains: string | null): Promise<Verdict> {
    return this.#audit.verify(contains)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#turn
    await this.#audit[Symbol.asyncDispose]()
  }

  async #sparingly(kind: keyof typeof recorded, deed: Deed, code: string | null): Promise<void> {
    const { max, windowMs } = recorded[kind]
    const event = named(deed)
    const which = kind === 'refusals' ? [] : [event.operation, event.app, event.part]
    const key = JSON.stringify([kind, event.who, event.from, ...which])
    const { write, omitted } = this.#often.add(key, this.#options.clock.nowMs(), windowMs, max)
    if (!write) return
    await this.#audit.append({ ...event, outcome: code === null ? 'done' : 'refused', code, of: null, omitted }, false)
  }

  /** One change at a time: on disk first, then in force. */
  #change<T>(make: (people: People) => readonly [People, T]): Promise<T> {
    const work = this.#turn.then(async () => {
      const { directory, keysPath, entrance } = this.#options
      const before = this.#people
      const [after, result] = make(before)
      await writePeople(join(directory, 'people.json'), after)
      this.#people = after
      for (const listener of this.#listeners) listener()
      if (keysPath === null) return result
      try {
        await writeKeys(keysPath, entrance, after)
      } catch (error) {
        // Somebody who was taken away stays away, though sshd still knows the key; somebody new is not half there.
        if (after.length < before.length) throw error
        await writePeople(join(directory, 'people.json'), before)
        this.#people = before
        throw error
      }
      return result
    })
    this.#turn = work.catch(() => {})
    return work
  }

  #person(name: string, from: string, token: string | null): Caller {
    return {
      name,
      from,
      may: (right: Right, app: string | null) => {
        const nowMs = this.#options.clock.nowMs()
        const person = this.#people.find((candidate) => candidate.name === name)
        if (person === undefined) return false
        const live = token === null || person.tokens.some(({ id, expiresAtMs }) => id === token && expiresAtMs > nowMs)
        return live && allows(person, right, app, nowMs)
      },
    }
  }
}

function named({ caller, operation, app, part }: Deed): Pick<Event, 'who' | 'from' | 'operation' | 'app' | 'part'> {
  return { who: caller.name, from: caller.from, operation, app, part }
}

function refusalOf(
  proof: { kind: 'stranger' | 'locked' } | { kind: 'expired'; name: string; atMs: number },
  none: boolean,
): SteadError {
  if (proof.kind === 'expired') {
    return new SteadError({
      code: 'operator.token-expired',
      message: `this token of ${proof.name} expired at ${new Date(proof.atMs).toISOString()}`,
      hint: `Ask whoever runs the platform for another: \`stead access token ${proof.name}\`.`,
    })
  }
  if (proof.kind === 'locked') {
    return new SteadError({
      code: 'operator.too-many-tries',
      message: 'too many wrong secrets were tried for this token, so it is not looked at for a minute',
      hint: 'Wait, or ask for another token.',
      retry: 'later',
    })
  }
  return new SteadError({
    code: 'operator.unauthorized',
    message: none ? 'this needs a token, and none was given' : 'this token is not known here',
    hint: 'Set STEAD_TOKEN to a token of this platform; whoever runs it makes one with `stead access token NAME`.',
  })
}
