/**
 * What outlives a return to an earlier state: no number of a sequence is given out twice, and nothing that was done to the
 * outside world is forgotten.
 *
 * Invariants: sequences only move on; everything can be done again; a generation gets what is carried once, in one
 * transaction with the row that says so. (Positions of sequences are not part of a transaction; moved twice, they stay.)
 */
import { SteadError, messageOf } from '../base/index.ts'
import type { Session } from './drivers/connection.ts'
import { quoteName, quoteText } from './names.ts'

/** Where a sequence stands. Numbers are decimal text: they may be larger than a number here can be. */
export interface SequenceState {
  /** Schema and name, as SQL. */
  readonly name: string
  /** The last number that was given out; null: none yet. */
  readonly last: string | null
  readonly increment: string
  readonly min: string
  readonly max: string
}

const batchRows = 500
/** A batch ends early when its rows are large. */
const batchCharsMax = 16 * 1024 * 1024
const formatVersion = 1

/** Reads what must be carried, as lines: a head with the sequences, then the ledger row by row. Memory is bounded. */
export async function* linesToCarry(session: Session): AsyncGenerator<string> {
  const own = await readSequences(session)
  const missed = (await readMissed(session)).filter(({ name }) => !own.some((sequence) => sequence.name === name))
  const sequences = [...own, ...missed]
  yield JSON.stringify({ version: formatVersion, sequences })
  const [found] = await session.query<{ there: boolean }>(`select to_regclass('stead.effects') is not null as there`)
  if (found?.there !== true) return
  let after = ''
  for (;;) {
    // What was only planned has had no effect, and what planned it is undone.
    const rows = await session.query<{ key: string; json: string }>(
      `select key, to_jsonb(e)::text as json from stead.effects e where key > $1 and state <> 'planned' order by key limit ${batchRows}`,
      [after],
    )
    for (const { json } of rows) yield json
    const last = rows.at(-1)
    if (last === undefined || rows.length < batchRows) return
    after = last.key
  }
}

async function readSequences(session: Session): Promise<readonly SequenceState[]> {
  return await session.query<{ [Key in keyof SequenceState]: SequenceState[Key] }>(`
    select quote_ident(schemaname) || '.' || quote_ident(sequencename) as name, last_value::text as last,
        increment_by::text as increment, min_value::text as min, max_value::text as max
      from pg_sequences where schemaname !~ '^pg_' and schemaname not in ('information_schema', 'stead') order by 1`)
}

/** Positions of sequences that have no sequence here: what made them was undone, and may be made again. */
async function readMissed(session: Session): Promise<readonly SequenceState[]> {
  const [found] = await session.query<{ there: boolean }>(
    `select to_regclass('stead.missed_sequences') is not null as there`,
  )
  if (found?.there !== true) return []
  return await session.query<{ [Key in keyof SequenceState]: SequenceState[Key] }>(
    'select name, last, increment, min, max from stead.missed_sequences order by 1',
  )
}

/** Moves sequences that have been made again, such as by a migration, past what they had given out before they were undone. */
export async function moveMissed(session: Session): Promise<void> {
  const missed = await readMissed(session)
  if (missed.length === 0) return
  const here = new Map((await readSequences(session)).map((sequence) => [sequence.name, sequence]))
  for (const { name, last } of missed) {
    const sequence = here.get(name)
    if (sequence === undefined) continue
    if (last !== null) await moveTo(session, sequence, BigInt(last))
    await session.query('delete from stead.missed_sequences where name = $1', [name])
  }
}

/**
 * Brings lines of `linesToCarry` into the data that has come back; without lines, sequences are moved on by a large step.
 * Answers what a person should know. Throws `database.carry-failed` when the lines make no sense; then nothing was carried.
 */
export async function carryInto(
  session: Session,
  generation: number,
  lines: AsyncIterable<string> | null,
): Promise<readonly string[]> {
  await session.query('begin')
  const fresh = await session.query(
    'insert into stead.generations (generation) values ($1) on conflict do nothing returning 1',
    [generation],
  )
  const notes: string[] = []
  if (fresh.length > 0) {
    if (lines === null) {
      notes.push('what was sent since then is not in the ledger: the state that was left could not be asked')
      notes.push(...(await moveSequences(session, new Map())))
    } else {
      notes.push(...(await carryLines(session, generation, lines)))
    }
  }
  await session.query('commit')
  return notes
}

async function carryLines(
  session: Session,
  generation: number,
  lines: AsyncIterable<string>,
): Promise<readonly string[]> {
  let left: ReadonlyMap<string, SequenceState> | null = null
  let batch: string[] = []
  let chars = 0
  const flush = async (): Promise<void> => {
    if (batch.length > 0) await mergeLedger(session, generation, batch)
    batch = []
    chars = 0
  }
  for await (const line of lines) {
    if (left === null) {
      left = parseHead(line)
      continue
    }
    batch.push(line)
    chars += line.length
    if (batch.length >= batchRows || chars > batchCharsMax) await flush()
  }
  await flush()
  return await moveSequences(session, left ?? parseHead(''))
}

function parseHead(line: string): ReadonlyMap<string, SequenceState> {
  try {
    const head = JSON.parse(line) as { version: number; sequences: readonly SequenceState[] }
    if (head.version !== formatVersion) throw new Error(`version ${head.version} is not known`)
    return new Map(head.sequences.map((sequence) => [sequence.name, sequence]))
  } catch (cause) {
    throw new SteadError({
      code: 'database.carry-failed',
      message: `what is to be carried into the data that has come back makes no sense: ${messageOf(cause)}`,
      hint: 'It was written by another version, or is damaged. Nothing was carried.',
      cause,
    })
  }
}

/** What was done outside stays done: the later state of a row wins, and a row that is not known here is marked as left behind. */
async function mergeLedger(session: Session, generation: number, rows: readonly string[]): Promise<void> {
  const columns = (
    await session.query<{ name: string }>(
      `select attname as name from pg_attribute
         where attrelid = 'stead.effects'::regclass and attnum > 0 and not attisdropped order by attnum`,
    )
  ).map(({ name }) => name)
  const names = columns.map(quoteName)
  const values = columns.map((column) =>
    column === 'abandoned_by_generation' ? `coalesce(r.abandoned_by_generation, $2)` : `r.${quoteName(column)}`,
  )
  // What is known here keeps what it was caused by, and takes on what has become of it.
  const outcome = ['state', 'sending_at', 'sent_at', 'attempts', 'result', 'compensation']
    .map((column) => `${column} = excluded.${column}`)
    .join(', ')
  await session.query(
    `insert into stead.effects as e (${names.join(', ')})
       select ${values.join(', ')} from jsonb_populate_recordset(null::stead.effects, $1::jsonb) r
       on conflict (key) do update set ${outcome}`,
    [`[${rows.join(',')}]`, generation],
  )
}

/** How far a sequence is moved of which nobody knows what it has given out since. */
const largeStep = 1_000_000n

/** Moves every sequence past what the state that was left had given out. Answers a sentence when it had to guess. */
async function moveSequences(session: Session, left: ReadonlyMap<string, SequenceState>): Promise<readonly string[]> {
  const guessed: string[] = []
  const here = await readSequences(session)
  for (const sequence of here) {
    const known = left.get(sequence.name)
    const sameWay = known !== undefined && known.increment.startsWith('-') === sequence.increment.startsWith('-')
    const target = sameWay ? known.last : guess(sequence)
    if (!sameWay) guessed.push(sequence.name)
    if (target === null) continue
    await moveTo(session, sequence, BigInt(target))
  }
  for (const { name, last, increment, min, max } of left.values()) {
    if (here.some((sequence) => sequence.name === name)) continue
    await session.query(
      `insert into stead.missed_sequences (name, last, increment, min, max) values ($1, $2, $3, $4, $5)
         on conflict (name) do update set last = excluded.last`,
      [name, last, increment, min, max],
    )
  }
  if (guessed.length === 0) return []
  const names = guessed.slice(0, 10).join(', ') + (guessed.length > 10 ? ` and ${guessed.length - 10} more` : '')
  return [`sequences were moved on by a large step, because it is not known what they had given out: ${names}`]
}

async function moveTo(session: Session, sequence: SequenceState, target: bigint): Promise<void> {
  const position = further(sequence, target)
  if (position !== null) await session.query(`select setval(${quoteText(sequence.name)}::regclass, ${position})`)
}

/** A position that is surely, or as surely as there is room for, past what was given out. */
function guess({ last, increment, min, max }: SequenceState): string {
  const step = BigInt(increment)
  const [end, start] = step > 0n ? [BigInt(max), BigInt(min)] : [BigInt(min), BigInt(max)]
  const at = last === null ? start : BigInt(last)
  const room = (end - at) / 10n / step
  return `${at + (room < largeStep ? room : largeStep) * step}`
}

/** The target, as far as the sequence goes; null where it stands at or past it already. */
function further({ last, increment, min, max }: SequenceState, target: bigint): bigint | null {
  const up = BigInt(increment) > 0n
  const [low, high] = [BigInt(min), BigInt(max)]
  const within = target < low ? low : target > high ? high : target
  if (last === null) return within
  const at = BigInt(last)
  return (up ? within > at : within < at) ? within : null
}
