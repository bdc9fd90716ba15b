/**
 * What the ledgers of two states say differently: effects on the outside world that the later one knows of and the earlier
 * one does not, or not as done. Memory is bounded: the later ledger is read in batches, and the list has a limit.
 */
import type { LedgerEntry } from '../provider/index.ts'
import type { Session } from './drivers/connection.ts'

const batchRows = 1_000
/** Effects that are listed; more are counted. */
const entriesMax = 10_000

interface Row {
  readonly key: string
  readonly what: string
  readonly state: 'sent' | 'sending'
  readonly compensation: string | null
  /** Milliseconds since 1970, as text. */
  readonly time: string
}

/** The effects, in the order of their keys, and how many more there are. Null where the later state has no ledger in use. */
export async function diffLedgers(
  before: Session,
  after: Session,
): Promise<{ readonly entries: readonly LedgerEntry[]; readonly more: number } | null> {
  if (!(await isInUse(after))) return null
  const hasEarlier = await isInUse(before)
  const entries: LedgerEntry[] = []
  let more = 0
  let last = ''
  for (;;) {
    const rows = await after.query<{ [Key in keyof Row]: Row[Key] }>(
      `select key, what, state, compensation,
          (extract(epoch from coalesce(sent_at, sending_at, created_at)) * 1000)::bigint::text as time
         from stead.effects where key > $1 and state in ('sent', 'sending') order by key limit ${batchRows}`,
      [last],
    )
    const known = new Map(
      (hasEarlier
        ? await before.query<{ key: string; state: string }>(
            'select key, state from stead.effects where key = any ($1)',
            [rows.map(({ key }) => key)],
          )
        : []
      ).map(({ key, state }) => [key, state]),
    )
    for (const { key, what, state, compensation, time } of rows) {
      const earlier = known.get(key)
      if (earlier === state || earlier === 'sent' || earlier === 'compensated') continue
      if (entries.length >= entriesMax) more++
      else {
        const outcome = state === 'sent' ? 'sent' : 'possibly-sent'
        entries.push({ key, what, state: outcome, compensation, timeMs: Number(time) })
      }
    }
    const end = rows.at(-1)
    if (end === undefined || rows.length < batchRows) return { entries, more }
    last = end.key
  }
}

async function isInUse(session: Session): Promise<boolean> {
  const [found] = await session.query<{ there: boolean }>(`select to_regclass('stead.effects') is not null as there`)
  if (found?.there !== true) return false
  return (await session.query('select 1 from stead.effects limit 1')).length > 0
}
