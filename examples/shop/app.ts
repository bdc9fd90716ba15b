/**
 * The shop: product pages and an order form in TypeScript, a Python worker that handles orders and writes invoices, a report
 * every minute.
 */
import { app, bucket, job, postgres, queue, secret, service } from 'stead'

export default app('shop', () => {
  const db = postgres('db', { migrations: './migrations' })
  const orders = queue<{ order: number }>('orders')
  const formKey = secret('form-key')
  const invoices = bucket('invoices')

  const web = service('web', {
    from: './web',
    run: ['node', 'server.ts'],
    http: 3000,
    ready: { http: '/healthz' },
    // It tells of orders, and hands out links to invoices; it can read neither.
    use: { db, orders: orders.only('send'), formKey, invoices: invoices.only('presign') },
  })

  const worker = service('worker', {
    from: './worker',
    run: ['python3', 'worker.py'],
    use: { db, orders: orders.only('receive'), invoices: invoices.only('write') },
  })

  const report = job('report', {
    from: './report',
    run: ['node', 'report.ts'],
    schedule: '* * * * *',
    use: { db },
  })

  return {
    parts: { web, worker, report },
    public: { 'shop.localhost': web, 'invoices.localhost': invoices },
  }
})
