/**
 * The suite of object storage through the driver `s3` on real servers, with what the probe finds in each. A server that is not
 * in the cache is skipped: `scripts/node scripts/object-servers.ts` fetches them.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, suite, test } from 'node:test'
import { objectsConformance } from '../src/objects/conformance.ts'
import { makeS3Bucket, openS3Store, probeS3 } from '../src/objects/index.ts'
import type { ObjectCapabilities, Probe, S3Options } from '../src/objects/index.ts'
import { objectServers, startObjectServer } from '../scripts/object-servers.ts'
import type { RunningObjectServer } from '../scripts/object-servers.ts'

const names = 'keeps a key without slashes as one name, which has at most 255 bytes'
const paths = 'keeps objects as files, so a key and one below it cannot both be'

const noType = 'keeps no content type'
const missed =
  'in pages of one, U+E000 is missed, which comes before letters beyond U+FFFF by bytes and after them in UTF-16'

const asFiles = {
  'a key of 1,024 bytes is kept as it is': names,
  'keys that look like paths are kept as they are': paths,
  'keys come in the order of their bytes, each once, whatever the page': paths,
  'a prefix narrows, a delimiter groups, in pages of any size': paths,
}

/** What the probe found in each, and what it cannot do; a change of that is worth knowing. */
const known: Readonly<Record<string, { found: Partial<ObjectCapabilities>; skip: Readonly<Record<string, string>> }>> =
  {
    SeaweedFS: {
      found: { putIfAbsent: true, putIfMatch: true, checksums: true, presign: true, paging: true },
      skip: asFiles,
    },
    versitygw: {
      found: { putIfAbsent: true, putIfMatch: true, checksums: true, presign: true, paging: true },
      skip: asFiles,
    },
    S3Proxy: {
      found: { putIfAbsent: false, putIfMatch: false, checksums: false, presign: true, paging: true },
      skip: {
        ...asFiles,
        'content that comes as a stream is the same when it is read, also where it is sent in parts':
          'the libraries it brings from Maven do not fit together: uploads in parts end in NoSuchFieldError',
        'keys are kept as they are': 'answers 500 to a line break in a key',
      },
    },
    Garage: {
      found: { putIfAbsent: false, putIfMatch: false, checksums: true, presign: true, paging: true },
      skip: {
        'keys that look like paths are kept as they are': 'takes the first slash off a key that begins with one',
      },
    },
    'Apache Ozone': {
      found: { putIfAbsent: true, putIfMatch: true, checksums: false, presign: true, paging: true },
      skip: {
        'what is written is read, with what describes it': noType,
        'a signed URL does the one thing that was signed': noType,
        'keys that look like paths are kept as they are':
          'its web server answers 400 to empty and dotted parts of a path',
        'keys come in the order of their bytes, each once, whatever the page': missed,
        'a prefix narrows, a delimiter groups, in pages of any size': missed,
      },
    },
    'Ceph RGW': {
      found: { putIfAbsent: false, putIfMatch: false, checksums: false, presign: true, paging: true },
      skip: {},
    },
  }

for (const server of objectServers) {
  const skip = server.isHere() ? false : `needs ${server.name} in the cache: scripts/node scripts/object-servers.ts`
  let running: Promise<RunningObjectServer> | undefined
  let cases = 0
  after(async () => (await running)?.[Symbol.asyncDispose]())
  let probed: Promise<Probe> | undefined
  const place = async (): Promise<Omit<S3Options, 'capabilities'>> => {
    running ??= startObjectServer(server)
    const { endpoint, accessKeyId, secretAccessKey } = await running
    cases += 1
    const bucket = `suite-${createHash('sha256').update(`${server.name}${cases}`).digest('hex').slice(0, 12)}`
    const options = { endpoint, accessKeyId, secretAccessKey, bucket }
    await makeS3Bucket(options)
    return options
  }
  if (skip !== false) {
    test(`objects conformance: ${server.name}`, { skip }, () => {})
    continue
  }
  suite(`${server.name} ${server.version}`, () => {
    test('what the probe finds', async () => {
      probed = probeS3({ ...(await place()), durability: server.durability })
      const { capabilities, findings } = await probed
      process.stdout.write(`${server.name}: ${JSON.stringify(capabilities)} ${findings.join('; ')}\n`)
      for (const [name, value] of Object.entries(known[server.name]?.found ?? {})) {
        const found = Object.entries(capabilities).find(([capability]) => capability === name)?.[1]
        assert.equal(found, value, `${name}: ${findings.join('; ')}`)
      }
    })
    objectsConformance({
      name: server.name,
      skip: known[server.name]?.skip ?? {},
      async makePlace() {
        const options = await place()
        probed ??= probeS3(options)
        const { capabilities } = await probed
        const store = openS3Store({ ...options, capabilities })
        return { store, [Symbol.asyncDispose]: () => store.close() }
      },
    })
  })
}
