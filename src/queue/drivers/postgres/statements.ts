/**
 * The statements of queues in PostgreSQL, and what they take. `$s` stands for the schema. Each has an index that it is meant for, and
 * each settlement names number and claim, so that exactly one holder can make it.
 */
import type { Decision, Outgoing } from '../../driver.ts'
import { heldColumns } from './rows.ts'

/** Delayed messages and leases that one look brings forward. */
const dueMax = 1000

/** The messages of arrays: those of `enterValues`. */
export const enterSql: string = `INSERT INTO $s.messages (queue, id, state, priority, at, key, headers, text_body, body, generation)
  SELECT $1::text, id, state, priority, clock_timestamp() + delay * interval '1 millisecond', key, headers, text_body, body, $2::integer
  FROM unnest($3::text[], $4::smallint[], $5::smallint[], $6::bigint[], $7::text[], $8::text[], $9::text[], $10::bytea[])
    WITH ORDINALITY AS m (id, state, priority, delay, key, headers, text_body, body, n)`

/** Answers a row if there is the queue, which stays until it is done. */
export const sendSql: string = `WITH known AS (SELECT 1 AS x FROM $s.queues WHERE name = $1::text FOR KEY SHARE),
  entered AS (${enterSql} CROSS JOIN known ORDER BY n)
  SELECT pg_notify('$s', $1::text) FROM known`

export function enterValues(
  queue: string,
  generation: number,
  messages: readonly Outgoing[],
  states: readonly number[],
): readonly unknown[] {
  const texts = messages.map(({ body }) => (typeof body === 'string' && !body.includes('\0') ? body : null))
  return [
    queue,
    generation,
    messages.map(({ id }) => id),
    arrayOf(states),
    arrayOf(messages.map(({ priority }) => priority)),
    arrayOf(messages.map(({ delayMs }) => delayMs)),
    messages.map(({ key }) => key),
    messages.map(({ headers }) => (Object.keys(headers).length === 0 ? null : JSON.stringify(headers))),
    texts,
    messages.map(({ body }, index) => (texts[index] === null ? Buffer.from(body) : null)),
  ]
}

/** Numbers as PostgreSQL writes an array of them: the client would look at each for what must be escaped. */
export function arrayOf(numbers: readonly (number | string)[]): string {
  return `{${numbers.join(',')}}`
}

/** Brings forward what has fallen due: delays and leases that are over. By the statement's time, which an index can be asked for. */
export const dueSql: string = `UPDATE $s.messages SET state = 0, token = NULL WHERE seq IN (
  SELECT seq FROM $s.messages WHERE queue = $1 AND state IN (1, 2) AND at <= statement_timestamp()
  ORDER BY at LIMIT ${dueMax} FOR UPDATE SKIP LOCKED)`

export const claimSql: string = `WITH picked AS (
    SELECT seq FROM $s.messages WHERE queue = $1 AND state = 0 ORDER BY priority DESC, seq LIMIT $2 FOR UPDATE SKIP LOCKED
  ), claimed AS (
    UPDATE $s.messages m SET state = 2, attempts = attempts + 1, token = (SELECT nextval('$s.tokens')),
      at = clock_timestamp() + $3 * interval '1 millisecond'
    FROM picked WHERE m.seq = picked.seq RETURNING m.*
  ) SELECT ${heldColumns} FROM claimed ORDER BY priority DESC, seq`

/** A few of the keys whose window is over; more are forgotten than are written. */
export const forgetDuplicates: string = `DELETE FROM $s.dedup WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM $s.dedup WHERE until <= clock_timestamp() LIMIT 10 FOR UPDATE SKIP LOCKED))`

/**
 * A message has a token exactly while it is held, so its state need not be asked; and must not be: the server would read the index of all
 * that is held in place of one row for each number.
 */
const holding = 'm.seq = h.seq AND m.token = h.token AND m.queue = $3 AND m.at > clock_timestamp()'

/** Acknowledges holdings of messages without keys. Answers the numbers of those that it could, in one text. */
export const ackSql: string = `WITH gone AS (
    DELETE FROM $s.messages m USING unnest($1::bigint[], $2::bigint[]) AS h (seq, token) WHERE ${holding} RETURNING m.seq
  ) SELECT coalesce(string_agg(seq::text, ' '), '') AS done FROM gone`

/** Each names the holdings in $1 and $2, so that exactly one holder can settle, and answers those that it could. */
export const settleSql: Readonly<Record<Decision['kind'], string>> = {
  ack: `DELETE FROM $s.messages m USING unnest($1::bigint[], $2::bigint[]) AS h (seq, token) WHERE ${holding} RETURNING m.seq, m.key`,
  extend: `UPDATE $s.messages m SET at = clock_timestamp() + h.ms * interval '1 millisecond'
    FROM unnest($1::bigint[], $2::bigint[], $4::bigint[]) AS h (seq, token, ms) WHERE ${holding} RETURNING m.seq, m.key`,
  retry: `UPDATE $s.messages m SET state = CASE WHEN h.ms > 0 THEN 1 ELSE 0 END, token = NULL,
      attempts = m.attempts - h.uncounted, at = clock_timestamp() + h.ms * interval '1 millisecond'
    FROM unnest($1::bigint[], $2::bigint[], $4::bigint[], $5::integer[]) AS h (seq, token, ms, uncounted)
    WHERE ${holding} RETURNING m.seq, m.key`,
  reject: `UPDATE $s.messages m SET state = 3, token = NULL, cause = h.cause
    FROM unnest($1::bigint[], $2::bigint[], $4::text[]) AS h (seq, token, cause) WHERE ${holding} RETURNING m.seq, m.key`,
}

/** The further columns of a kind's statement. */
export function valuesOf(decisions: readonly Decision[], kind: Decision['kind']): readonly unknown[] {
  switch (kind) {
    case 'ack':
      return []
    case 'extend':
      return [decisions.map((decision) => (decision.kind === 'extend' ? decision.leaseMs : 0))]
    case 'reject':
      return [
        decisions.map((decision) => (decision.kind === 'reject' ? decision.cause.replaceAll('\0', '\uFFFD') : '')),
      ]
    case 'retry':
      return [
        decisions.map((decision) => (decision.kind === 'retry' ? decision.delayMs : 0)),
        decisions.map((decision) => (decision.kind === 'retry' && !decision.countAsFailure ? 1 : 0)),
      ]
  }
}
