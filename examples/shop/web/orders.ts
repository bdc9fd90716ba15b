/**
 * How the worker hears of an order. The row in the database is the order, and its status says whether it is handled: so it is
 * its own outbox. It is put into the queue as soon as it is committed; what did not get there (the queue was away, or this
 * process ended in between) is found by its status and put there again. The dedup key keeps a second message out of the
 * queue while the first may still wait, and the worker handles an order once, however often it hears of it.
 */
import type { Pool } from 'pg'

const endpoint = process.env['QUEUE_ENDPOINT']
const token = process.env['QUEUE_TOKEN']
const sweepMs = 5000
/** How old an order that nobody has handled must be before it is told again. */
const overdue = '10 seconds'

/** Puts orders into the queue. Throws when it does not answer or takes some of them not. */
export async function enqueue(orders: readonly string[]): Promise<void> {
  const messages = orders.map((order) => ({ value: { order: Number(order) }, dedup: { key: `order-${order}` } }))
  const response = await fetch(`${endpoint}/messages`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({ messages }),
    signal: AbortSignal.timeout(5000),
  })
  const answer = (await response.json()) as { results?: { ok: boolean }[]; title?: string }
  const refused = answer.results?.filter(({ ok }) => !ok).length ?? orders.length
  if (refused > 0) throw new Error(answer.title ?? `${refused} messages were refused`)
}

/** Looks now and then for orders of which the worker has not heard. */
export function sweep(pool: Pool): NodeJS.Timeout {
  return setInterval(() => {
    enqueueOverdue(pool).catch((error: unknown) => console.error(`orders are told later: ${String(error)}`))
  }, sweepMs)
}

async function enqueueOverdue(pool: Pool): Promise<void> {
  const { rows } = await pool.query<{ id: string }>(
    `SELECT id FROM orders WHERE status = 'received' AND placed_at < now() - interval '${overdue}' ORDER BY id LIMIT 100`,
  )
  if (rows.length > 0) await enqueue(rows.map(({ id }) => id))
}
