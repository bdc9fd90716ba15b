/** The report: counts what was accepted and writes one row. */
import pg from 'pg'

const client = new pg.Client({ connectionString: process.env['DATABASE_URL'] })
await client.connect()
const { rows } = await client.query<{ orders: string; total_cents: string }>(`
  INSERT INTO reports (orders, total_cents)
  SELECT count(*), coalesce(sum(o.quantity * p.price_cents), 0)
  FROM orders o JOIN products p ON p.id = o.product_id
  WHERE o.status = 'accepted'
  RETURNING orders, total_cents`)
await client.end()
console.log(`${rows[0]?.orders} orders accepted, ${rows[0]?.total_cents} cents in all`)
