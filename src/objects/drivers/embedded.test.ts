/** The conformance suite on the embedded store: in this process, with versions, and through its server. */
import { after } from 'node:test'
import { objectsConformance } from '../conformance.ts'
import type { ObjectsPlace } from '../conformance.ts'
import { openS3Store } from './s3/s3.ts'
import { probeS3 } from './s3/probe.ts'
import { credential, servedStore } from './embedded-place.test-helper.ts'
import type { ServedStore } from './embedded-place.test-helper.ts'

/** One store for a suite; each case has a bucket of its own. */
function shared(
  make: (served: ServedStore, bucket: string) => Promise<ObjectsPlace['store']>,
): () => Promise<ObjectsPlace> {
  let opened: Promise<ServedStore> | undefined
  let cases = 0
  after(async () => (await opened)?.[Symbol.asyncDispose]())
  return async () => {
    opened ??= servedStore()
    cases += 1
    const store = await make(await opened, `suite-${cases}`)
    return { store, [Symbol.asyncDispose]: () => store.close() }
  }
}

objectsConformance({
  name: 'embedded, in this process',
  makePlace: shared((served, bucket) =>
    served.objects.bucket(bucket, { presign: { endpoint: served.endpoint, credential } }),
  ),
})

objectsConformance({
  name: 'embedded, in this process, with versions',
  makePlace: shared((served, bucket) =>
    served.objects.bucket(bucket, { versions: true, presign: { endpoint: served.endpoint, credential } }),
  ),
})

objectsConformance({
  name: 's3, on the embedded server',
  makePlace: shared(async ({ objects, endpoint }, bucket) => {
    await objects.bucket(bucket)
    const options = { endpoint, bucket, ...credential }
    const { capabilities } = await probeS3({ ...options, durability: 'fsync' })
    return openS3Store({ ...options, capabilities })
  }),
})
