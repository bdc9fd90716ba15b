/**
 * A part on a kernel of its own, which is one word here: `isolation: 'kernel'`. What runs in it is a program that nobody
 * prepared, a PostgreSQL with its own files, as a legacy system may have one: it is started in a guest, and `web` uses it like
 * any other part.
 */
import { app, service } from 'stead'

export default app('own-kernel', () => {
  const ledger = service('ledger', {
    from: './ledger',
    run: ['sh', 'start.sh'],
    tcp: 5432,
    isolation: 'kernel',
    ready: { tcp: 5432, timeout: '10m' },
    limits: { memory: '512MB', processes: 64 },
  })
  const web = service('web', {
    from: './web',
    run: ['node', 'server.js'],
    http: 3000,
    // An emulated database may take its time: that is no fault of this part.
    ready: '/up',
    use: { ledger },
  })
  return { parts: { ledger, web }, public: { 'ledger.localhost': web } }
})
