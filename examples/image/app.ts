/**
 * A program of others, unmodified: Redis as Debian packages it, from an image that was made of its root tree without Docker:
 *
 *     debootstrap --variant=minbase --include=redis-server bookworm /tmp/redis
 *     stead image build /tmp/redis redis:7 --user redis --health '["redis-cli","ping"]'
 *
 * It is sandboxed, limited, logged, probed and reached over an edge like a part with code of its own.
 */
import { app, service } from 'stead'

export default app('visits', () => {
  const cache = service('cache', {
    image: 'oci:redis:7',
    run: ['redis-server', '--port', '6379', '--save', '', '--dir', '/tmp', '--protected-mode', 'no'],
    tcp: 6379,
    limits: { memory: '64MB' },
  })
  const web = service('web', { from: './web', run: ['node', 'server.ts'], http: 3000, use: { cache } })
  return { parts: { cache, web }, public: { 'visits.localhost': web } }
})
