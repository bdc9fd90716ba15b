/**
 * The statements of the ledger, one for each step an effect can take. Each is atomic by itself, and says what it found:
 * whoever loses a race learns it from the answer, never from an error.
 */
import type { Json } from '../base/index.ts'
import type { LedgerDriver } from './driver.ts'
import type { Effect, EffectPlan, EffectState } from './effect.ts'

/** Writes an effect down; false when its key is there already. */
export async function insert(db: LedgerDriver, plan: EffectPlan): Promise<boolean> {
  const rows = await db.query(
    `insert into ${db.table} (key, kind, what, payload, compensation, state)
     values ($1, $2, $3, $4, $5, 'planned') on conflict (key) do nothing returning key`,
    [plan.key, plan.kind, plan.what, JSON.stringify(plan.payload ?? null), plan.compensation ?? null],
  )
  return rows.length > 0
}

/** The data knows again what an earlier time had planned. */
export async function adopt(db: LedgerDriver, key: string): Promise<void> {
  await db.query(`update ${db.table} set abandoned_by_generation = null where key = $1`, [key])
}

export async function find(db: LedgerDriver, key: string): Promise<Effect | null> {
  return (await select(db, 'where key = $1', [key]))[0] ?? null
}

/** Makes the table where it is not there. */
export async function createTable(db: LedgerDriver): Promise<void> {
  if (await db.exists()) return
  for (const statement of db.createTable) await db.query(statement, [])
}

/** What is not settled, in the order of keys, after `afterKey`. */
export function unsettled(db: LedgerDriver, afterKey: string, limit: number): Promise<readonly Effect[]> {
  const where = `where state in ('planned', 'sending', 'failed') and key > $1 order by key limit $2`
  return select(db, where, [afterKey, limit])
}

/**
 * Begins an attempt; answers its number, or null when it is not the caller's to begin: somebody is at it since less than
 * `staleMs`, it is settled, the data knows nothing of it any more, or it is possibly sent and not to be sent `again`.
 */
export async function claim(
  db: LedgerDriver,
  key: string,
  { staleMs, again }: { readonly staleMs: number; readonly again: boolean },
): Promise<number | null> {
  const [row] = await db.query(
    `update ${db.table} set state = 'sending', sending_at = ${db.now}, attempts = attempts + 1
     where key = $1 and abandoned_by_generation is null
       and (state in ('planned', 'failed')
            or ($3 = 1 and state = 'sending' and (sending_at is null or sending_at <= ${db.ago('$2')})))
     returning cast(attempts as text) as attempts`,
    [key, staleMs, again ? 1 : 0],
  )
  return row === undefined ? null : Number(row['attempts'])
}

/** It was sent. True whichever attempt says so, also one that was given up for dead: that it was sent does not change. */
export async function markSent(db: LedgerDriver, key: string, result: Json): Promise<void> {
  await db.query(
    `update ${db.table} set state = 'sent', sending_at = null, sent_at = ${db.now}, result = $2
     where key = $1 and state in ('sending', 'failed')`,
    [key, JSON.stringify(result)],
  )
}

/** It was not sent: that only the latest attempt can know, for an earlier one knows nothing of those after it. */
export async function markFailed(db: LedgerDriver, key: string, attempt: number, result: Json): Promise<void> {
  await db.query(
    `update ${db.table} set state = 'failed', sending_at = null, result = $3
     where key = $1 and state = 'sending' and attempts = $2`,
    [key, attempt, JSON.stringify(result)],
  )
}

/** The attempt has ended and nobody knows how; another may begin at once. */
export async function markUnheard(db: LedgerDriver, key: string, attempt: number, result: Json): Promise<void> {
  await db.query(
    `update ${db.table} set sending_at = null, result = $3 where key = $1 and state = 'sending' and attempts = $2`,
    [key, attempt, JSON.stringify(result)],
  )
}

/** A person has looked; false when there was nothing to decide. */
export async function decided(db: LedgerDriver, key: string, state: 'sent' | 'failed'): Promise<boolean> {
  const rows = await db.query(
    `update ${db.table} set state = $2, sending_at = null, sent_at = case when $2 = 'sent' then ${db.now} end
     where key = $1 and state = 'sending' returning key`,
    [key, state],
  )
  return rows.length > 0
}

/** What undoes it was sent. */
export async function markCompensated(db: LedgerDriver, key: string): Promise<void> {
  await db.query(
    `update ${db.table} set state = 'compensated', sending_at = null where key = $1 and state in ('sent', 'sending')`,
    [key],
  )
}

async function select(
  db: LedgerDriver,
  rest: string,
  values: readonly (string | number)[],
): Promise<readonly Effect[]> {
  const rows = await db.query(
    `select key, kind, what, cast(payload as text) as payload, compensation, state,
       cast(generation as text) as generation, ${db.ms('created_at')} as created_ms, ${db.ms('sending_at')} as sending_ms,
       ${db.ms('sent_at')} as sent_ms, cast(attempts as text) as attempts, cast(result as text) as result,
       cast(abandoned_by_generation as text) as abandoned
     from ${db.table} ${rest}`,
    values,
  )
  const number = (text: string | null | undefined): number | null => (typeof text === 'string' ? Number(text) : null)
  return rows.map((row) => ({
    key: row['key'] ?? '',
    kind: row['kind'] ?? '',
    what: row['what'] ?? '',
    payload: JSON.parse(row['payload'] ?? 'null') as Json,
    compensation: row['compensation'] ?? null,
    state: row['state'] as EffectState,
    generation: Number(row['generation']),
    createdAtMs: Number(row['created_ms']),
    sendingAtMs: number(row['sending_ms']),
    sentAtMs: number(row['sent_ms']),
    attempts: Number(row['attempts']),
    result: JSON.parse(row['result'] ?? 'null') as Json,
    abandonedByGeneration: number(row['abandoned']),
  }))
}
