/** The pages of the shop, as text. Everything that comes from outside is escaped by `html`. */

export interface Product {
  readonly slug: string
  readonly name: string
  readonly description: string
  readonly price_cents: number
  readonly stock: number
}

export interface Order {
  readonly id: string
  readonly name: string
  readonly quantity: number
  readonly customer: string
  readonly status: 'received' | 'accepted' | 'sold-out'
}

/** Text that is safe to stand in a page. */
class Safe {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

function escape(value: unknown): string {
  if (value instanceof Safe) return value.text
  if (Array.isArray(value)) return value.map(escape).join('')
  return String(value).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`)
}

function html(parts: TemplateStringsArray, ...values: readonly unknown[]): Safe {
  return new Safe(parts.reduce((text, part, index) => text + escape(values[index - 1]) + part))
}

function money(cents: number): string {
  return `€ ${(cents / 100).toFixed(2)}`
}

const style = new Safe(`
  :root { color-scheme: light dark; --ink: light-dark(#22302b, #e8efe9); --soft: light-dark(#5c6b64, #9fb0a7); --line: light-dark(#d9e0da, #33413a);
          --paper: light-dark(#f7f8f5, #151c18); --card: light-dark(#fff, #1d2621); --accent: light-dark(#1d6b4f, #6fcba4); }
  body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.55 system-ui, sans-serif; }
  header, main, footer { max-width: 62rem; margin: 0 auto; padding: 1.4rem 1.5rem; }
  header { display: flex; gap: 2rem; align-items: baseline; border-bottom: 1px solid var(--line); }
  header a { color: inherit; text-decoration: none; } header b { font-size: 1.3rem; letter-spacing: -.02em; }
  h1 { font-size: 1.9rem; letter-spacing: -.02em; margin: 1rem 0 .4rem; } p { margin: .3rem 0 1rem; } .soft { color: var(--soft); }
  .grid { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); margin-top: 1.5rem; }
  .card { background: var(--card); border: 1px solid var(--line); border-radius: .8rem; padding: 1.2rem; color: inherit; text-decoration: none; display: block; }
  .card:hover { border-color: var(--accent); } .card h2 { font-size: 1.1rem; margin: 0 0 .2rem; } .price { font-weight: 650; }
  form { display: grid; gap: .9rem; max-width: 22rem; margin-top: 1.5rem; } label { display: grid; gap: .25rem; font-size: .92rem; color: var(--soft); }
  input { font: inherit; padding: .55rem .7rem; border: 1px solid var(--line); border-radius: .5rem; background: var(--card); color: var(--ink); }
  button { font: inherit; font-weight: 600; padding: .65rem 1rem; border: 0; border-radius: .5rem; background: var(--accent); color: var(--paper); cursor: pointer; }
  .badge { display: inline-block; padding: .1rem .6rem; border-radius: 1rem; border: 1px solid var(--line); font-size: .85rem; }
  table { border-collapse: collapse; width: 100%; margin-top: 1rem; } td, th { text-align: left; padding: .5rem .6rem; border-bottom: 1px solid var(--line); }
  footer { color: var(--soft); font-size: .9rem; }
`)

function page(title: string, body: Safe, refreshSeconds?: number): string {
  const refresh = refreshSeconds === undefined ? '' : html`<meta http-equiv="refresh" content="${refreshSeconds}" />`
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width" />
        ${refresh}
        <title>${title} · Hearth &amp; Shelf</title>
        <style>
          ${style}
        </style>
      </head>
      <body>
        <header>
          <a href="/"><b>Hearth &amp; Shelf</b></a
          ><a href="/orders" class="soft">Orders</a>
        </header>
        <main>${body}</main>
        <footer>
          Pages by a TypeScript service, orders handled by a Python worker, kept in PostgreSQL. All of it runs on Stead.
        </footer>
      </body>
    </html>`.text
}

export function catalogPage(products: readonly Product[]): string {
  const cards = products.map(
    (product) =>
      html`<a class="card" href="/products/${product.slug}">
        <h2>${product.name}</h2>
        <p class="soft">${product.description}</p>
        <span class="price">${money(product.price_cents)}</span>
      </a>`,
  )
  return page(
    'Things for the house',
    html`<h1>Things for the house</h1>
      <p class="soft">Few, and made to last.</p>
      <div class="grid">${cards}</div>`,
  )
}

export function productPage(product: Product, token: string, problem: string | null): string {
  const form = html`<form method="post" action="/orders">
    <input type="hidden" name="product" value="${product.slug}" /><input type="hidden" name="token" value="${token}" />
    <label>Your name <input name="customer" required maxlength="100" autocomplete="name" /></label>
    <label>How many <input name="quantity" type="number" min="1" max="20" value="1" required /></label>
    <button>Order</button>
  </form>`
  return page(
    product.name,
    html`<h1>${product.name}</h1>
      <p>${product.description}</p>
      <p>
        <span class="price">${money(product.price_cents)}</span> <span class="badge">${product.stock} in stock</span>
      </p>
      ${problem === null ? '' : html`<p><b>${problem}</b></p>`}${form}`,
  )
}

const statusText = { received: 'received, being handled', accepted: 'accepted', 'sold-out': 'sold out, sorry' } as const

/** `invoice`: the link to it; null while there is none. */
export function orderPage(order: Order, invoice: string | null): string {
  return page(
    `Order ${order.id}`,
    html`<h1>Thank you, ${order.customer}</h1>
      <p>Order ${order.id}: ${order.quantity} × ${order.name}</p>
      <p><span class="badge">${statusText[order.status]}</span></p>
      ${invoice === null ? '' : html`<p><a href="${invoice}">Invoice</a></p>`}`,
    order.status === 'received' ? 1 : undefined,
  )
}

export function ordersPage(
  orders: readonly Order[],
  report: { orders: string; total_cents: string; made_at: Date } | null,
): string {
  const rows = orders.map(
    (order) =>
      html`<tr>
        <td><a href="/orders/${order.id}">${order.id}</a></td>
        <td>${order.name}</td>
        <td>${order.quantity}</td>
        <td>${statusText[order.status]}</td>
      </tr>`,
  )
  const line =
    report === null
      ? html`<p class="soft">The report has not run yet.</p>`
      : html`<p class="soft">
          Last report, ${report.made_at.toISOString().slice(0, 16).replace('T', ' ')} UTC: ${report.orders} orders
          accepted, ${money(Number(report.total_cents))}.
        </p>`
  return page(
    'Orders',
    html`<h1>Orders</h1>
      ${line}
      <table>
        <tr>
          <th>No.</th>
          <th>What</th>
          <th>How many</th>
          <th>Status</th>
        </tr>
        ${rows}
      </table>`,
  )
}

export function messagePage(title: string, text: string): string {
  return page(
    title,
    html`<h1>${title}</h1>
      <p>${text}</p>
      <p><a href="/">To the catalogue</a></p>`,
  )
}
