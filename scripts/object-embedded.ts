/**
 * The embedded S3 server as a process of its own, for benches and for trying it out:
 * `scripts/node scripts/object-embedded.ts PORT DIR`, with the key in STEAD_ACCESS_KEY and STEAD_SECRET_KEY.
 */
import { openEmbeddedObjects } from '../src/objects/index.ts'

const [port = '0', dir = 'objects'] = process.argv.slice(2)
const { STEAD_ACCESS_KEY: accessKeyId = 'stead', STEAD_SECRET_KEY: secretAccessKey = 'stead-secret' } = process.env
const credential = { accessKeyId, secretAccessKey, account: 'local' }

await using objects = await openEmbeddedObjects({ dir })
await using server = await objects.listen({
  port: Number(port),
  credentials: (id) => (id === accessKeyId ? credential : undefined),
  onBug: (error) => process.stderr.write(`${error instanceof Error ? (error.stack ?? '') : String(error)}\n`),
})
process.stdout.write(`http://127.0.0.1:${server.port}\n`)
await new Promise((resolve) => process.once('SIGINT', resolve).once('SIGTERM', resolve))
