/**
 * The clients people have, as they use them, against the embedded server: boto3, the AWS command, rclone, restic, the AWS client
 * for JavaScript. Each is skipped where it is not on the machine or in the cache of `scripts/s3-tests.ts` and
 * `scripts/object-servers.ts`.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { nativeClientConfig, openEmbeddedObjects } from '../src/objects/index.ts'
import type { EmbeddedObjects, ListeningServer, ObjectStore } from '../src/objects/index.ts'
import { rclone } from '../scripts/object-servers.ts'
import { needsFile } from './needs.ts'

const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'stead-servers')
const python = join(cache, 's3-tests-venv', 'bin', 'python')
const aws = join(cache, 's3-tests-venv', 'bin', 'aws')
const sdk = join(cache, 'aws-sdk')
const credential = { accessKeyId: 'CLIENTSKEY', secretAccessKey: 'clients-secret', account: 'local' }
const { NODE_EXTRA_CA_CERTS: _own, ...plainEnv } = process.env

suite('real clients', () => {
  const dir = mkdtempSync(join(tmpdir(), 'stead-objects-clients-'))
  const files = join(dir, 'files')
  let objects: EmbeddedObjects
  let server: ListeningServer
  let endpoint = ''
  const bugs: unknown[] = []

  before(async () => {
    objects = await openEmbeddedObjects({ dir: join(dir, 'objects') })
    server = await objects.listen({ port: 0, credentials: () => credential, onBug: (error) => bugs.push(error) })
    endpoint = `http://127.0.0.1:${server.port}`
    mkdirSync(join(files, 'sub dir'), { recursive: true })
    for (const [name, bytes] of [
      ['small', 10],
      ['empty', 0],
      ['sub dir/ünïcödé', 5000],
      ['large', 21_000_000],
    ] as const) {
      writeFileSync(
        join(files, name),
        createHash('shake256', { outputLength: bytes || 1 })
          .update(name)
          .digest()
          .subarray(0, bytes),
      )
    }
  })
  after(async () => {
    await server.close()
    await objects.close()
    rmSync(dir, { recursive: true, force: true })
    assert.deepEqual(bugs, [])
  })

  /** Runs a client to its end and gives what it printed. */
  function run(env: Readonly<Record<string, string>>, command: string, ...args: readonly string[]): Promise<string> {
    const own = {
      AWS_ACCESS_KEY_ID: credential.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credential.secretAccessKey,
      AWS_DEFAULT_REGION: 'us-east-1',
      HOME: dir,
    }
    const child = spawn(command, args, {
      env: { ...plainEnv, ...own, ...env },
      cwd: dir,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let [output, errors] = ['', '']
    child.stdout.on('data', (piece) => (output += String(piece)))
    child.stderr.on('data', (piece) => (errors += String(piece)))
    return new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code) =>
        code === 0 ? resolve(output) : reject(new Error(`${command} ${args.join(' ')}: ${errors}${output}`)),
      )
    })
  }

  async function keysOf(store: ObjectStore): Promise<readonly string[]> {
    return (await store.list()).objects.map(({ key }) => key)
  }

  test('boto3', { skip: needsFile(python, 'scripts/node scripts/s3-tests.ts') }, async () => {
    await objects.bucket('boto')
    const program = `
import sys, boto3, urllib.request
from botocore.config import Config
c = boto3.client('s3', endpoint_url=sys.argv[1], config=Config(signature_version='s3v4'))
c.upload_file(sys.argv[2] + '/large', 'boto', 'large', ExtraArgs={'Metadata': {'a': 'b'}})
c.download_file('boto', 'large', sys.argv[2] + '/large-back')
for n in range(30): c.put_object(Bucket='boto', Key=f'many/{n}', Body=b'x' * n, ChecksumAlgorithm='SHA256')
pages = c.get_paginator('list_objects_v2').paginate(Bucket='boto', Prefix='many/', PaginationConfig={'PageSize': 7})
assert sum(len(p['Contents']) for p in pages) == 30
url = c.generate_presigned_url('get_object', Params={'Bucket': 'boto', 'Key': 'many/9'}, ExpiresIn=60)
assert urllib.request.urlopen(url).read() == b'x' * 9
c.copy({'Bucket': 'boto', 'Key': 'large'}, 'boto', 'copy of large')
assert c.head_object(Bucket='boto', Key='copy of large')['Metadata'] == {'a': 'b'}
c.delete_objects(Bucket='boto', Delete={'Objects': [{'Key': f'many/{n}'} for n in range(30)]})
`
    await run({}, python, '-c', program, endpoint, files)
    assert.deepEqual(readFileSync(join(files, 'large-back')), readFileSync(join(files, 'large')))
    rmSync(join(files, 'large-back'))
    assert.deepEqual(await keysOf(await objects.bucket('boto')), ['copy of large', 'large'])
  })

  test('the AWS command', { skip: needsFile(aws, 'pip install awscli in the cache of s3-tests') }, async () => {
    const s3 = (...args: readonly string[]): Promise<string> => run({}, aws, '--endpoint-url', endpoint, 's3', ...args)
    await s3('mb', 's3://command')
    await s3('sync', files, 's3://command/all')
    assert.match(await s3('ls', 's3://command/all/'), /PRE sub dir\/[\s\S]*large/)
    await s3('cp', 's3://command/all/large', join(dir, 'back'))
    assert.deepEqual(readFileSync(join(dir, 'back')), readFileSync(join(files, 'large')))
    assert.equal(await s3('sync', files, 's3://command/all'), '', 'nothing is left to do')
    await s3('mv', 's3://command/all/small', 's3://command/moved')
    await s3('rm', '--recursive', 's3://command/')
    await s3('rb', 's3://command')
  })

  test('rclone', { skip: needsFile(rclone.path, 'scripts/node scripts/object-servers.ts') }, async () => {
    await objects.bucket('rclone')
    const env = {
      RCLONE_CONFIG: '/dev/null',
      RCLONE_CONFIG_STEAD_TYPE: 's3',
      RCLONE_CONFIG_STEAD_PROVIDER: 'Other',
      RCLONE_CONFIG_STEAD_ENDPOINT: endpoint,
      RCLONE_CONFIG_STEAD_ACCESS_KEY_ID: credential.accessKeyId,
      RCLONE_CONFIG_STEAD_SECRET_ACCESS_KEY: credential.secretAccessKey,
    }
    await run(env, rclone.path, 'sync', files, 'stead:rclone/tree', '--s3-upload-cutoff', '6M', '--s3-chunk-size', '6M')
    await run(env, rclone.path, 'check', '--download', files, 'stead:rclone/tree')
    await run(env, rclone.path, 'copyto', 'stead:rclone/tree/small', 'stead:rclone/copy')
    await run(env, rclone.path, 'purge', 'stead:rclone/tree')
    assert.deepEqual(await keysOf(await objects.bucket('rclone')), ['copy'])
  })

  test('restic keeps a backup here', { skip: needsFile('/usr/bin/restic', 'apt-get install restic') }, async () => {
    await objects.bucket('restic')
    const env = {
      RESTIC_REPOSITORY: `s3:${endpoint}/restic`,
      RESTIC_PASSWORD: 'secret',
      RESTIC_CACHE_DIR: join(dir, 'restic-cache'),
    }
    const restic = (...args: readonly string[]): Promise<string> => run(env, '/usr/bin/restic', ...args)
    await restic('init')
    await restic('backup', files)
    writeFileSync(join(files, 'later'), 'later')
    await restic('backup', files)
    rmSync(join(files, 'later'))
    await restic('forget', '--keep-last', '1', '--prune')
    await restic('check', '--read-data')
    await restic('restore', 'latest', '--target', join(dir, 'restored'))
    assert.deepEqual(readFileSync(join(dir, 'restored', files, 'large')), readFileSync(join(files, 'large')))
    assert.equal(readFileSync(join(dir, 'restored', files, 'later'), 'utf8'), 'later')
  })

  const sdkMissing = existsSync(join(sdk, 'node_modules'))
    ? false
    : `needs @aws-sdk/client-s3 and @aws-sdk/lib-storage in ${sdk}`
  test('the AWS client for JavaScript', { skip: sdkMissing }, async () => {
    await objects.bucket('sdk', { versions: true })
    const program = `
import { readFileSync, createReadStream } from 'node:fs'
import { createRequire } from 'node:module'
import assert from 'node:assert'
const require = createRequire('${sdk}/x.js')
const { S3Client, PutObjectCommand, GetObjectCommand, DeleteObjectCommand, ListObjectVersionsCommand, paginateListObjectsV2 } = require('@aws-sdk/client-s3')
const { Upload } = require('@aws-sdk/lib-storage')
const [config, files] = process.argv.slice(2)
const client = new S3Client(JSON.parse(config))
const Bucket = 'sdk'
await new Upload({ client, params: { Bucket, Key: 'large', Body: createReadStream(files + '/large') } }).done()
const back = await (await client.send(new GetObjectCommand({ Bucket, Key: 'large' }))).Body.transformToByteArray()
assert.ok(Buffer.from(back).equals(readFileSync(files + '/large')))
await client.send(new PutObjectCommand({ Bucket, Key: 'once', Body: 'a', IfNoneMatch: '*', ChecksumAlgorithm: 'CRC64NVME' }))
await assert.rejects(client.send(new PutObjectCommand({ Bucket, Key: 'once', Body: 'b', IfNoneMatch: '*' })), { name: 'PreconditionFailed' })
await assert.rejects(client.send(new PutObjectCommand({ Bucket, Key: 'sse', Body: 'b', ServerSideEncryption: 'AES256' })), { name: 'NotImplemented' })
await client.send(new DeleteObjectCommand({ Bucket, Key: 'once' }))
const { Versions, DeleteMarkers } = await client.send(new ListObjectVersionsCommand({ Bucket }))
assert.deepEqual([Versions.length, DeleteMarkers.length], [2, 1])
const keys = []
for await (const page of paginateListObjectsV2({ client, pageSize: 1 }, { Bucket })) keys.push(...(page.Contents ?? []).map((item) => item.Key))
assert.deepEqual(keys, ['large'])
`
    writeFileSync(join(dir, 'sdk.mjs'), program)
    const config = nativeClientConfig({ endpoint, bucket: 'sdk', ...credential })
    await run({}, process.execPath, join(dir, 'sdk.mjs'), JSON.stringify(config), files)
  })
})
