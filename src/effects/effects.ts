/**
 * What an app does with its ledger: plan an effect in the transaction that decides on it, run it afterwards, sweep up what a
 * crash has left, compensate what should not have been.
 *
 * Invariants: nothing is sent that has no row, committed and claimed; of workers that start at once one sends; an attempt
 * that has not been heard of is begun again only after `staleMs`, and with the same key. So an effect is tried at least
 * once, and takes effect once where its receiver knows a key again. A receiver that does not is nobody's to promise.
 */
import type { DatabaseSync } from 'node:sqlite'
import { isSteadError, jsonEqual, messageOf } from '../base/index.ts'
import type { Json } from '../base/index.ts'
import type { LedgerDriver } from './driver.ts'
import { postgresLedger } from './drivers/postgres.ts'
import type { PostgresClient } from './drivers/postgres.ts'
import { sqliteLedger } from './drivers/sqlite.ts'
import { checkPlan, keptResult, undoOf, undoneBy } from './effect.ts'
import type { Effect, EffectPlan } from './effect.ts'
import { failure } from './errors.ts'
import * as ledger from './ledger.ts'

/** The app's own database: a client of PostgreSQL with `query(text, values)`, or an SQLite database of `node:sqlite`. */
export type EffectsDatabase = PostgresClient | DatabaseSync

/** What a receiver is to be told, and how often it was tried, this time included. */
export type Sending = Pick<Effect, 'key' | 'kind' | 'what' | 'payload'> & { readonly attempt: number }

/**
 * Does the effect, with `key` as the idempotency key of its receiver; what it answers is kept. Throws `notSent(...)` when
 * it knows that nothing has happened outside, and anything else when it does not know.
 */
export type Send = (effect: Sending) => Promise<Json | void>

export interface RunOptions {
  /** How long an attempt can take at most, in milliseconds; after that it counts as dead. Default 60,000. */
  readonly staleMs?: number
  /**
   * What to do with one that is possibly sent. `send-again`, the default: its receiver knows the key again, and does nothing
   * the second time. `leave`: it does not, so a person decides.
   */
  readonly possiblySent?: 'send-again' | 'leave'
}

/** Makes the table where it is not there. On the platform it is there: a database of an app has it from the start. */
export function createTable(db: EffectsDatabase): Promise<void> {
  return ledger.createTable(driverOf(db))
}

/**
 * Writes an effect down in the transaction that is open on `tx`, and answers the row. Planned again with the same kind and
 * payload it is the same effect, in whatever state it is; a row that a return of the data has orphaned is the data's again.
 * Throws `effects.bad-effect`, `effects.key-taken`, `effects.no-transaction`.
 */
export async function plan(tx: EffectsDatabase, planned: EffectPlan): Promise<Effect> {
  checkPlan(planned)
  const db = driverOf(tx)
  if (db.transaction() === 'none')
    throw failure(
      'no-transaction',
      `the effect ${planned.key} was to be planned outside of a transaction`,
      'Plan it between BEGIN and COMMIT of the data that decides on it, on the same connection; a pool is none.',
    )
  const inserted = await ledger.insert(db, planned)
  const effect = await found(db, planned.key)
  if (inserted) return effect
  const same = effect.kind === planned.kind && jsonEqual(effect.payload, planned.payload ?? null)
  if (!same || effect.state === 'compensated')
    throw failure(
      'key-taken',
      `the key ${planned.key} is that of another effect${same ? ', which was undone' : ''}: ${effect.what}`,
      'Give each effect a key of its own, made of what it belongs to.',
    )
  if (effect.abandonedByGeneration !== null) await ledger.adopt(db, planned.key)
  return { ...effect, abandonedByGeneration: null }
}

/**
 * Does a planned effect: claims it, sends, marks it; answers the row as it then is. What is sent already is not sent again,
 * and what somebody else is at (`sending`) is left to him, until he counts as dead. Call it after the commit, as often as you like.
 *
 * Throws what `send` threw when that was `notSent(...)`, `effects.possibly-sent` for its other errors,
 * `effects.unknown-key`, `effects.abandoned`, `effects.in-transaction`, `effects.not-durable`.
 */
export async function run(
  database: EffectsDatabase,
  key: string,
  send: Send,
  { staleMs = 60_000, possiblySent = 'send-again' }: RunOptions = {},
): Promise<Effect> {
  const db = driverOf(database)
  if (db.transaction() === 'open')
    throw failure(
      'in-transaction',
      `the effect ${key} was to be sent inside a transaction`,
      'Commit first: what is rolled back cannot be called back.',
    )
  const weakness = await db.weakness()
  if (weakness !== null)
    throw failure(
      'not-durable',
      `the effect ${key} was not sent: ${weakness}, so a loss of power would forget it`,
      'Turn it on.',
    )
  const attempt = await ledger.claim(db, key, { staleMs, again: possiblySent === 'send-again' })
  const effect = await found(db, key)
  if (attempt === null) {
    if (effect.abandonedByGeneration !== null && effect.state !== 'sent' && effect.state !== 'compensated')
      throw failure(
        'abandoned',
        `the effect ${key} was planned by data that was gone back from`,
        'Plan it again if it is still wanted, or compensate it.',
      )
  } else await attemptOf(db, effect, attempt, send)
  const settled = await found(db, key)
  const undone = undoneBy(settled)
  if (undone !== null && settled.state === 'sent') await ledger.markCompensated(db, undone)
  return settled
}

async function attemptOf(db: LedgerDriver, effect: Effect, attempt: number, send: Send): Promise<void> {
  const { key, kind, what, payload } = effect
  let answer: Json
  try {
    answer = (await send({ key, kind, what, payload, attempt })) ?? null
  } catch (error) {
    const result = { error: messageOf(error).slice(0, 1000).replaceAll('\0', '') }
    if (isSteadError(error) && error.code === 'effects.not-sent') {
      await ledger.markFailed(db, key, attempt, result)
      throw error
    }
    await ledger.markUnheard(db, key, attempt, result)
    throw failure(
      'possibly-sent',
      `the effect ${key} is possibly sent: ${messageOf(error)}`,
      'Run it again: it keeps its key.',
      {
        retry: 'later',
        cause: error,
      },
    )
  }
  await ledger.markSent(db, key, keptResult(answer))
}

/** What a person has found out about an effect that is possibly sent. Throws `effects.nothing-to-decide`. */
export async function decide(database: EffectsDatabase, key: string, was: 'sent' | 'not-sent'): Promise<Effect> {
  const db = driverOf(database)
  if (!(await ledger.decided(db, key, was === 'sent' ? 'sent' : 'failed'))) {
    const { state } = await found(db, key)
    throw failure('nothing-to-decide', `the effect ${key} is ${state}`, 'Only what is possibly sent is to be decided.')
  }
  return found(db, key)
}

/**
 * Undoes an effect that was sent, or possibly, by another effect: that one has the key and the kind of the first with `:undo`
 * after it, a row of its own, and is as safe to call again. When it is sent the first is `compensated`.
 * Throws `effects.nothing-to-undo`, and all that `run` throws.
 */
export async function compensate(
  database: EffectsDatabase,
  key: string,
  undo: Send,
  options: RunOptions = {},
): Promise<Effect> {
  const db = driverOf(database)
  const effect = await found(db, key)
  if (effect.state === 'compensated') return effect
  if (effect.state !== 'sent' && effect.state !== 'sending')
    throw failure(
      'nothing-to-undo',
      `the effect ${key} is ${effect.state}`,
      'Only what is sent, or possibly, can be undone.',
    )
  const undoing = undoOf(effect)
  await ledger.insert(db, undoing)
  await ledger.adopt(db, undoing.key)
  await run(database, undoing.key, undo, options)
  return found(db, key)
}

/** What is planned, possibly sent, or failed, in the order of keys. A next page begins after the last key of this one. */
export function pending(
  database: EffectsDatabase,
  { afterKey = '', limit = 100 }: { readonly afterKey?: string; readonly limit?: number } = {},
): Promise<readonly Effect[]> {
  return ledger.unsettled(driverOf(database), afterKey, Math.min(limit, 1000))
}

/** The row of an effect; null when there is none. */
export function look(database: EffectsDatabase, key: string): Promise<Effect | null> {
  return ledger.find(driverOf(database), key)
}

async function found(db: LedgerDriver, key: string): Promise<Effect> {
  const effect = await ledger.find(db, key)
  if (effect !== null) return effect
  throw failure('unknown-key', `the ledger has no effect ${key}`, 'Plan it first, and commit.')
}

function driverOf(db: EffectsDatabase): LedgerDriver {
  return 'prepare' in db ? sqliteLedger(db) : postgresLedger(db)
}
