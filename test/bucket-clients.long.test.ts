/**
 * Programs as they are, with nothing but the variables that a part gets: no address, no key and no setting of S3 in them.
 * Each is skipped where its client library is not on the machine.
 */
import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { promisify } from 'node:util'
import { systemClock } from '../src/base/index.ts'
import { createBundleStore } from '../src/artifact/index.ts'
import { ownPrograms } from '../src/cli/own-programs.ts'
import { bucketProvider } from '../src/objects/index.ts'
import { makeTestHost, makeTestResource } from '../src/provider/conformance.ts'
import type { TestHost, TestResource } from '../src/provider/conformance.ts'
import { processDriver } from '../src/sandbox/index.ts'
import { needsFile } from './needs.ts'

const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'stead-servers')
const python = join(cache, 's3-tests-venv', 'bin', 'python')
const sdk = join(cache, 'aws-sdk')

const boto = `
import boto3, io, os
s3, bucket = boto3.client('s3'), os.environ['BUCKET_NAME']
s3.create_bucket(Bucket=bucket)
s3.head_bucket(Bucket=bucket)
s3.upload_fileobj(io.BytesIO(b'y' * 9_000_000), bucket, 'large')
assert len(s3.get_object(Bucket=bucket, Key='large')['Body'].read()) == 9_000_000
assert [o['Key'] for o in s3.list_objects_v2(Bucket=bucket)['Contents']] == ['large']
for refused in (lambda: s3.delete_bucket(Bucket=bucket), lambda: s3.put_bucket_policy(Bucket=bucket, Policy='{}')):
    try:
        refused()
    except s3.exceptions.ClientError as error:
        assert error.response['Error']['Code'] == 'AccessDenied', error
    else:
        raise AssertionError('it was let do that')
s3.delete_object(Bucket=bucket, Key='large')
`

const javascript = `
import { createRequire } from 'node:module'
const require = createRequire('${sdk}/x.js')
const { S3Client, PutObjectCommand, GetObjectCommand, HeadObjectCommand } = require('@aws-sdk/client-s3')
const s3 = new S3Client({})
const where = { Bucket: process.env.BUCKET_NAME, Key: 'a key/with ünïcödé' }
await s3.send(new PutObjectCommand({ ...where, Body: 'hello', Metadata: { by: 'sdk' } }))
console.log(await (await s3.send(new GetObjectCommand(where))).Body.transformToString())
console.log((await s3.send(new HeadObjectCommand(where))).Metadata.by)
`

suite('programs that know nothing of Stead', () => {
  let host: TestHost
  let bucket: TestResource
  let env: Readonly<Record<string, string>>

  before(async () => {
    host = await makeTestHost()
    const bundles = await createBundleStore({ root: join(host.dir, 'bundles'), clock: systemClock })
    const { capabilities } = processDriver({ clock: systemClock, groups: null })
    const own = ownPrograms(bundles, { capabilities: { ...capabilities, isolation: 'native' } })
    const provider = bucketProvider({ own })
    const config = { versions: false, expiryDays: null, quotaBytes: null, corsOrigins: [], memoryBytes: 256_000_000 }
    bucket = await makeTestResource(host, { provider, config, filesDir: null }, 1)
    await bucket.start()
    const grant = bucket.grantFor('web')
    await provider.grant(bucket.context, grant)
    env = { PATH: process.env['PATH'] ?? '', ...(await bucket.bind(grant)).env }
  })
  after(async () => {
    await bucket[Symbol.asyncDispose]()
    spawnSync('chmod', ['-R', 'u+w', join(host.dir, 'bundles')])
    await host[Symbol.asyncDispose]()
  })

  /** Not synchronous: what plays the edge is in this process. */
  async function run(command: string, ...args: readonly string[]): Promise<string> {
    return (await promisify(execFile)(command, args, { env: { ...env }, timeout: 120_000 })).stdout
  }

  test('boto3', { skip: needsFile(python, 'scripts/node scripts/s3-tests.ts') }, async () => {
    await run(python, '-c', boto)
  })

  const missing = existsSync(join(sdk, 'node_modules')) ? false : `needs @aws-sdk/client-s3 in ${sdk}`
  test('the AWS client for JavaScript', { skip: missing }, async () => {
    const path = join(host.dir, 'program.mjs')
    writeFileSync(path, javascript, { mode: 0o644 })
    assert.equal(await run(process.execPath, path), 'hello\nsdk\n')
  })
})
