/**
 * The web service of the shop: an ordinary Node program. What it is given comes by environment: DATABASE_URL, PORT, the queue
 * of orders, a key that signs links to invoices, and the secret file of its form key.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import pg from 'pg'
import { invoiceLink } from './invoices.ts'
import { enqueue, sweep } from './orders.ts'
import { catalogPage, messagePage, type Order, orderPage, ordersPage, type Product, productPage } from './pages.ts'

const bodyBytesMax = 10_000
const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'], max: 8 })
pool.on('error', (error) => console.error(`database: ${error.message}`))
const formKey = readFileSync(`${process.env['STEAD_SECRETS']}/form-key`)

/** Ties a form to its product, so that nobody can post an order from another page. */
function tokenFor(slug: string): string {
  return createHmac('sha256', formKey).update(slug).digest('base64url')
}

function tokenFits(slug: string, token: string): boolean {
  const expected = Buffer.from(tokenFor(slug))
  const given = Buffer.from(token)
  return expected.length === given.length && timingSafeEqual(expected, given)
}

async function findProduct(slug: string): Promise<Product | undefined> {
  const { rows } = await pool.query<Product>(
    'SELECT slug, name, description, price_cents, stock FROM products WHERE slug = $1',
    [slug],
  )
  return rows[0]
}

async function placeOrder(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (Number(request.headers['content-length'] ?? Infinity) > bodyBytesMax)
    return send(response, 413, messagePage('Too much', 'That form is too large.'))
  const form = new URLSearchParams(await text(request))
  const slug = form.get('product') ?? ''
  const quantity = Number(form.get('quantity'))
  const customer = (form.get('customer') ?? '').trim()
  const product = await findProduct(slug)
  if (product === undefined || !tokenFits(slug, form.get('token') ?? '')) {
    return send(response, 400, messagePage('That did not work', 'Please start from the product page again.'))
  }
  if (!Number.isInteger(quantity) || quantity < 1 || quantity > 20 || customer.length < 1 || customer.length > 100) {
    return send(response, 400, productPage(product, tokenFor(slug), 'Please give a name, and a number from 1 to 20.'))
  }
  const { rows } = await pool.query<{ id: string }>(
    'INSERT INTO orders (product_id, quantity, customer) SELECT id, $2, $3 FROM products WHERE slug = $1 RETURNING id',
    [slug, quantity, customer],
  )
  const id = rows[0]?.id ?? ''
  // The order is safe: it is in the database. The worker is told now, or by the next sweep if that fails.
  enqueue([id]).catch((error: unknown) => console.error(`order ${id} is told later: ${String(error)}`))
  response.writeHead(303, { location: `/orders/${id}` }).end()
}

const orderColumns =
  'SELECT o.id, p.name, o.quantity, o.customer, o.status FROM orders o JOIN products p ON p.id = o.product_id'

async function route(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname } = new URL(request.url ?? '/', 'http://shop')
  const [, folder = '', name = '', more] = pathname.split('/')
  if (request.method === 'POST' && pathname === '/orders') return placeOrder(request, response)
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return send(response, 405, messagePage('Not that way', 'This page can only be read.'))
  if (pathname === '/') {
    const { rows } = await pool.query<Product>(
      'SELECT slug, name, description, price_cents, stock FROM products ORDER BY name',
    )
    return send(response, 200, catalogPage(rows))
  }
  if (pathname === '/healthz') {
    await pool.query('SELECT 1')
    return send(response, 200, 'ok', 'text/plain')
  }
  if (folder === 'products' && more === undefined) {
    const product = await findProduct(name)
    if (product !== undefined) return send(response, 200, productPage(product, tokenFor(product.slug), null))
  }
  if (pathname === '/orders') {
    const orders = await pool.query<Order>(`${orderColumns} ORDER BY o.id DESC LIMIT 50`)
    const reports = await pool.query<{ orders: string; total_cents: string; made_at: Date }>(
      'SELECT * FROM reports ORDER BY made_at DESC LIMIT 1',
    )
    return send(response, 200, ordersPage(orders.rows, reports.rows[0] ?? null))
  }
  if (folder === 'orders' && /^\d{1,18}$/.test(name)) {
    const { rows } = await pool.query<Order>(`${orderColumns} WHERE o.id = $1`, [name])
    const [order] = rows
    if (order !== undefined) {
      const scheme = String(request.headers['x-forwarded-proto'] ?? 'http')
      const link = order.status === 'accepted' ? invoiceLink(order.id, request.headers.host ?? '', scheme) : null
      return send(response, 200, orderPage(order, link))
    }
  }
  send(response, 404, messagePage('Not here', 'There is no such page.'))
}

function send(response: ServerResponse, status: number, body: string, type = 'text/html; charset=utf-8'): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) }).end(body)
}

const server = createServer((request, response) => {
  route(request, response).catch((error: unknown) => {
    console.error(`${request.method} ${request.url}: ${error instanceof Error ? error.message : String(error)}`)
    if (response.headersSent) response.destroy()
    else send(response, 500, messagePage('Our fault', 'Something went wrong here. Please try again.'))
  })
})

const sweeping = sweep(pool)
server.listen(Number(process.env['PORT'] ?? 3000), () => console.log(`serving on port ${process.env['PORT']}`))

process.on('SIGTERM', () => {
  console.log('finishing the requests that are under way')
  clearInterval(sweeping)
  server.close(() => void pool.end().then(() => process.exit(0)))
  server.closeIdleConnections()
})
