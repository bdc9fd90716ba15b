/**
 * A bucket that somebody else runs, behind its front: the suite of object storage through it, rights on keys of its own, and what
 * happens to bodies that are not what was announced, to a store that has gone, and to needs that a store does not meet.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { Elsewhere } from '../src/agent/elsewhere.ts'
import { createBundleStore } from '../src/artifact/index.ts'
import { systemClock } from '../src/base/index.ts'
import { ownPrograms } from '../src/cli/own-programs.ts'
import { createHostDriver } from '../src/network/index.ts'
import { objectsConformance } from '../src/objects/conformance.ts'
import { credential, servedStore } from '../src/objects/drivers/embedded-place.test-helper.ts'
import type { ServedStore } from '../src/objects/drivers/embedded-place.test-helper.ts'
import { bucketCapabilities, bucketProvider, openS3Store } from '../src/objects/index.ts'
import type { ObjectStore } from '../src/objects/index.ts'
import { makeTestHost, makeTestResource } from '../src/provider/conformance.ts'
import type { TestHost, TestResource } from '../src/provider/conformance.ts'
import type { Grant, Provider, ProviderContext } from '../src/provider/index.ts'
import { processDriver } from '../src/sandbox/index.ts'

const config = { hosted: 'files-url', needs: ['putIfAbsent', 'checksums'], corsOrigins: [] }

/** A front before a store of somebody else's. */
class Hosted implements AsyncDisposable {
  readonly resource: TestResource
  readonly elsewhere = new Elsewhere(createHostDriver('a test'))
  readonly provider: Provider

  constructor(provider: Provider, resource: TestResource) {
    this.provider = provider
    this.resource = resource
  }

  /** The context once somebody has set the secret. */
  context(url: string): ProviderContext {
    return { ...this.resource.context, adminPassword: url }
  }

  /** As an agent brings it into force. */
  async attach(url: string): Promise<void> {
    const context = this.context(url)
    await this.elsewhere.look(this.provider, context, { hostUid: statSync(context.socketDir).uid })
    await this.provider.prepare(context)
  }

  async enter(consumer: string, ...rights: string[]): Promise<ObjectStore> {
    const grant: Grant = { ...this.resource.grantFor(consumer), ...(rights.length === 0 ? {} : { rights }) }
    await this.provider.grant(this.resource.context, grant)
    const {
      AWS_ENDPOINT_URL_S3 = '',
      AWS_ACCESS_KEY_ID = '',
      AWS_SECRET_ACCESS_KEY = '',
      BUCKET_NAME = '',
    } = (await this.resource.bind(grant)).env
    return openS3Store({
      endpoint: AWS_ENDPOINT_URL_S3,
      bucket: BUCKET_NAME,
      accessKeyId: AWS_ACCESS_KEY_ID,
      secretAccessKey: AWS_SECRET_ACCESS_KEY,
      capabilities: { ...bucketCapabilities, versions: false },
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.resource.stop()
    this.elsewhere.close()
    await this.resource[Symbol.asyncDispose]()
  }
}

let host: TestHost
let provider: Provider
let theirs: ServedStore
let number = 1

function urlOf(store: ServedStore, bucket = 'shop-files'): string {
  const key = `${encodeURIComponent(credential.accessKeyId)}:${encodeURIComponent(credential.secretAccessKey)}`
  return `http://${key}@127.0.0.1:${store.port}/${bucket}`
}

async function hosted(more: object = {}): Promise<Hosted> {
  const subject = { provider, config: { ...config, ...more }, filesDir: null }
  const made = new Hosted(provider, await makeTestResource(host, subject, number++))
  await made.resource.start()
  return made
}

before(async () => {
  host = await makeTestHost()
  const bundles = await createBundleStore({ root: join(host.dir, 'bundles'), clock: systemClock })
  const { capabilities: plain } = processDriver({ clock: systemClock, groups: null })
  provider = bucketProvider({ own: ownPrograms(bundles, { capabilities: { ...plain, isolation: 'native' } }) })
  theirs = await servedStore()
  await theirs.objects.bucket('shop-files')
})
after(async () => {
  await theirs[Symbol.asyncDispose]()
  // Bundles are read-only, also to whoever removes them.
  spawnSync('chmod', ['-R', 'u+w', join(host.dir, 'bundles')])
  await host[Symbol.asyncDispose]()
})

suite('the suite of object storage through a front', () => {
  let front: Hosted
  before(async () => {
    front = await hosted()
    await front.attach(urlOf(theirs))
  })
  after(() => front[Symbol.asyncDispose]())

  let cases = 0
  objectsConformance({
    name: 'a bucket that is hosted elsewhere',
    async makePlace() {
      cases += 1
      const store = await front.enter(`case-${cases}`)
      const there = await theirs.objects.bucket('shop-files')
      return {
        store,
        async [Symbol.asyncDispose]() {
          await store.close()
          for (let left = await there.list(); left.objects.length > 0; left = await there.list())
            await Promise.all(left.objects.map(({ key }) => there.delete(key)))
        },
      }
    },
  })
})

suite('a bucket that is hosted elsewhere', () => {
  test('parts have keys of their own, and may do what their use says; the store sees one key', async () => {
    await using front = await hosted()
    await front.attach(urlOf(theirs))
    await using all = await front.enter('all')
    await using reader = await front.enter('reader', 'read')
    await using signer = await front.enter('signer', 'presign')
    await all.put('a', 'first')
    assert.equal(await new Response((await reader.get('a'))?.body).text(), 'first')
    await assert.rejects(reader.put('b', 'x'), { code: 'objects.denied' })
    await assert.rejects(reader.list(), { code: 'objects.denied' })
    await assert.rejects(signer.get('a'), { code: 'objects.denied' })
    const url = await signer.presign({ method: 'GET', key: 'a', expiresSeconds: 60 })
    assert.equal(await (await fetch(url)).text(), 'first')
    const write = await signer.presign({ method: 'PUT', key: 'a', expiresSeconds: 60 })
    assert.equal((await fetch(write, { method: 'PUT', body: 'x' })).status, 403)
    // What is there is in the bucket of the store, under the name it has there.
    const there = await theirs.objects.bucket('shop-files')
    assert.equal(await new Response((await there.get('a'))?.body).text(), 'first')
    await provider.revoke(front.resource.context, front.resource.grantFor('reader').user)
    await assert.rejects(reader.get('a'), { code: 'objects.denied' })
  })

  test('no other bucket of the store is reached, nobody is let see by a list, and forms are refused', async () => {
    await theirs.objects.bucket('private')
    await using front = await hosted()
    await front.attach(urlOf(theirs))
    await using all = await front.enter('all')
    await all.put('a', 'first')
    const url = new URL(await all.presign({ method: 'GET', key: 'a', expiresSeconds: 60 }))
    const other = url.href.replace('/db/a', '/private/a')
    assert.equal((await fetch(other)).status, 403)
    const { origin } = url
    assert.equal((await fetch(`${origin}/`)).status, 403)
    assert.equal((await fetch(`${origin}/db?acl`)).status, 403)
    const form = new FormData()
    form.set('key', 'x')
    assert.equal((await fetch(`${origin}/db`, { method: 'POST', body: form })).status, 501)
  })

  test('bytes that are not what was announced never become an object', async () => {
    await using front = await hosted()
    await front.attach(urlOf(theirs))
    await using all = await front.enter('all')
    const there = await theirs.objects.bucket('shop-files')
    const url = await all.presign({ method: 'PUT', key: 'wrong', expiresSeconds: 60 })
    const body = Buffer.alloc(300_000, 'x')
    const headers = { 'content-md5': Buffer.alloc(16).toString('base64') }
    const answer = await fetch(url, { method: 'PUT', body, headers })
    assert.deepEqual([answer.status, /<Code>([^<]+)/.exec(await answer.text())?.[1]], [400, 'BadDigest'])
    assert.equal(await there.stat('wrong'), null)
  })

  test('a store that has gone is a reason to try again, and one that is back is asked again', async () => {
    await using front = await hosted()
    const store = await servedStore()
    await store.objects.bucket('shop-files')
    await front.attach(urlOf(store))
    await using all = await front.enter('all')
    await all.put('a', 'first')
    await store[Symbol.asyncDispose]()
    await assert.rejects(all.get('a'), { code: 'objects.unavailable' })
    // The operator sets another URL; nobody else notices.
    await front.attach(urlOf(theirs))
    await all.put('a', 'second')
    assert.equal(await new Response((await all.get('a'))?.body).text(), 'second')
  })

  test('what is wrong with the secret or the store is said, without the key', async () => {
    await using front = await hosted()
    const refused = async (url: string, code: string, message: RegExp): Promise<void> => {
      const context = front.context(url)
      await assert.rejects(
        async () => provider.prepare(context),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, code, error.message)
          assert.match(error.message, message)
          assert.doesNotMatch(error.message, new RegExp(credential.secretAccessKey))
          return true
        },
      )
    }
    await refused('', 'objects.hosted-url', /the secret files-url has no value yet/)
    await refused('postgresql://a:b@c/d', 'objects.hosted-url', /is no URL of a bucket/)
    await refused(`http://127.0.0.1:${theirs.port}/shop-files`, 'objects.hosted-url', /has no key in it/)
    await refused(urlOf(theirs, ''), 'objects.hosted-url', /does not end with the name of a bucket/)
    await refused(urlOf(theirs, 'not-there'), 'objects.hosted-denied', /not-there at http:\/\/127/)
    await refused(urlOf(theirs).replace('TESTKEY', 'OTHER'), 'objects.hosted-denied', /refuses/)
    await using versions = await hosted({ needs: ['versions'] })
    await assert.rejects(async () => provider.prepare(versions.context(urlOf(theirs))), {
      code: 'objects.unsupported',
      message: /bucket db does not do what is needed: versions: the bucket keeps no versions/,
    })
    await assert.rejects(provider.diff(front.resource.context, 'a', 'b'), { code: 'objects.hosted-refused' })
    const metrics = (await provider.metrics(front.resource.context)).map(({ name }) => name)
    assert.ok(metrics.includes('bucket_reads_total') && !metrics.includes('bucket_objects'))
  })
})
