/** The provider of `bucket` against the suite of providers, as its program runs it, and what is its own: rights, limits, returns. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { createBundleStore } from '../src/artifact/index.ts'
import { systemClock } from '../src/base/index.ts'
import { ownPrograms } from '../src/cli/own-programs.ts'
import { bucketCapabilities, bucketProvider, openS3Store } from '../src/objects/index.ts'
import type { ObjectStore } from '../src/objects/index.ts'
import { makeTestHost, makeTestResource, providerConformance } from '../src/provider/conformance.ts'
import type { ProviderSubject, TestClient, TestHost, TestResource } from '../src/provider/conformance.ts'
import type { Binding, Grant, Provider } from '../src/provider/index.ts'
import { processDriver } from '../src/sandbox/index.ts'

const config = { versions: false, expiryDays: null, quotaBytes: null, corsOrigins: [], memoryBytes: 256_000_000 }
function storeOf({ env }: Binding): ObjectStore {
  const { AWS_ENDPOINT_URL_S3 = '', AWS_ACCESS_KEY_ID = '', AWS_SECRET_ACCESS_KEY = '', BUCKET_NAME = '' } = env
  return openS3Store({
    endpoint: AWS_ENDPOINT_URL_S3,
    bucket: BUCKET_NAME,
    accessKeyId: AWS_ACCESS_KEY_ID,
    secretAccessKey: AWS_SECRET_ACCESS_KEY,
    capabilities: bucketCapabilities,
  })
}

async function connect(binding: Binding): Promise<TestClient> {
  const store = storeOf(binding)
  try {
    await store.list({ limit: 1 })
  } catch (error) {
    await store.close()
    throw error
  }
  return {
    async write(item) {
      await store.put(String(item), `item ${item}`)
    },
    async items() {
      const keys: number[] = []
      for (let after: string | undefined, more = true; more; more = after !== undefined) {
        const page = await store.list(after === undefined ? {} : { after })
        keys.push(...page.objects.map(({ key }) => Number(key)))
        after = page.next
      }
      return keys.toSorted((a, b) => a - b)
    },
    [Symbol.asyncDispose]: () => store.close(),
  }
}

/** The program where the host's user can read it, as the platform puts it there. */
async function providerOn(host: TestHost): Promise<Provider> {
  const bundles = await createBundleStore({ root: join(host.dir, 'bundles'), clock: systemClock })
  const { capabilities: plain } = processDriver({ clock: systemClock, groups: null })
  return bucketProvider({ own: ownPrograms(bundles, { capabilities: { ...plain, isolation: 'native' } }) })
}

/** Bundles are read-only, also to whoever removes them. */
function unlocked(host: TestHost): TestHost {
  return {
    ...host,
    async [Symbol.asyncDispose]() {
      spawnSync('chmod', ['-R', 'u+w', join(host.dir, 'bundles')])
      await host[Symbol.asyncDispose]()
    },
  }
}

providerConformance('bucket', async (host): Promise<ProviderSubject> => {
  return { provider: await providerOn(host), config, filesDir: null, connect, connectionsMetric: null }
})

suite('a bucket', () => {
  let host: TestHost
  let provider: Provider
  let number = 100
  const resource = (more: Partial<typeof config> | object = {}): Promise<TestResource> =>
    makeTestResource(host, { provider, config: { ...config, ...more }, filesDir: null }, number++)

  before(async () => {
    host = unlocked(await makeTestHost())
    provider = await providerOn(host)
  })
  after(() => host[Symbol.asyncDispose]())

  /** Lets a consumer in with these rights, all unless given. */
  async function enter(of: TestResource, consumer: string, ...rights: string[]): Promise<ObjectStore> {
    const grant: Grant = { ...of.grantFor(consumer), ...(rights.length === 0 ? {} : { rights }) }
    await provider.grant(of.context, grant)
    return storeOf(await of.bind(grant))
  }

  test('a consumer may do what its use says, and nothing else', async () => {
    await using bucket = await resource()
    await bucket.start()
    await using all = await enter(bucket, 'all')
    await all.put('a', 'first')
    const may = async (store: ObjectStore): Promise<readonly string[]> => {
      const fetched = async (method: 'GET' | 'PUT', key: string): Promise<void> => {
        const url = await store.presign({ method, key, expiresSeconds: 60 })
        const answer = await fetch(url, { method, ...(method === 'PUT' ? { body: 'by url' } : {}) })
        await answer.text()
        if (!answer.ok) throw new Error(`${answer.status}`)
      }
      const tries: Readonly<Record<string, () => Promise<unknown>>> = {
        read: async () => await new Response((await store.get('a'))?.body).text(),
        write: () => store.put('b', 'second'),
        delete: () => store.delete('b'),
        list: () => store.list(),
        'url to read': () => fetched('GET', 'a'),
        'url to write': () => fetched('PUT', 'c'),
      }
      const allowed: string[] = []
      for (const [what, attempt] of Object.entries(tries))
        if (
          await attempt().then(
            () => true,
            () => false,
          )
        )
          allowed.push(what)
      return allowed
    }
    const expected: readonly (readonly [readonly string[], readonly string[]])[] = [
      [[], ['read', 'write', 'delete', 'list', 'url to read', 'url to write']],
      [['read'], ['read']],
      [['write'], ['write', 'delete']],
      [['list'], ['list']],
      [['presign'], ['url to read']],
      [
        ['presign', 'write'],
        ['write', 'delete', 'url to read', 'url to write'],
      ],
      [
        ['list', 'read'],
        ['read', 'list'],
      ],
    ]
    for (const [index, [rights, allowed]] of expected.entries()) {
      await using store = await enter(bucket, `part-${index}`, ...rights)
      assert.deepEqual(await may(store), allowed, rights.join(' '))
    }
  })

  test('other rights hold at once, for the same key and without a new server', async () => {
    await using bucket = await resource()
    await bucket.start()
    const grant = bucket.grantFor('web')
    await provider.grant(bucket.context, { ...grant, rights: ['read'] })
    await using store = storeOf(await bucket.bind(grant))
    await assert.rejects(store.put('a', 'x'), { code: 'objects.denied' })
    await provider.grant(bucket.context, { ...grant, rights: ['read', 'write'] })
    await store.put('a', 'x')
    await provider.grant(bucket.context, { ...grant, rights: ['list'] })
    await assert.rejects(store.put('a', 'x'), { code: 'objects.denied' })
  })

  test('it holds no more than was set aside for it, and says so; what makes it smaller is let through', async () => {
    await using bucket = await resource({ quotaBytes: 100_000 })
    await bucket.start()
    await using store = await enter(bucket, 'web')
    await store.put('a', Buffer.alloc(90_000))
    await assert.rejects(store.put('b', Buffer.alloc(20_000)), /QuotaExceeded/)
    await store.put('a', Buffer.alloc(50_000))
    await store.put('b', Buffer.alloc(20_000))
    assert.deepEqual(
      (await store.list()).objects.map(({ key, bytes }) => [key, bytes]),
      [
        ['a', 50_000],
        ['b', 20_000],
      ],
    )
  })

  test('pages of the origins that are named may ask by script, and no others; what they may do is in what is signed', async () => {
    await using bucket = await resource({ corsOrigins: ['https://shop.example', 'http://*.test.localhost'] })
    await bucket.start()
    await using store = await enter(bucket, 'web')
    await store.put('a', 'first')
    const read = await store.presign({ method: 'GET', key: 'a', expiresSeconds: 60 })
    const write = await store.presign({ method: 'PUT', key: 'b', expiresSeconds: 60 })
    const asks = async (
      url: string,
      origin: string,
      init: { method?: string; body?: string; headers?: Record<string, string> } = {},
    ): Promise<readonly (string | number | null)[]> => {
      const answer = await fetch(url, { ...init, headers: { origin, ...init.headers } })
      await answer.arrayBuffer()
      return [answer.status, answer.headers.get('access-control-allow-origin')]
    }
    assert.deepEqual(await asks(read, 'https://shop.example'), [200, 'https://shop.example'])
    assert.deepEqual(await asks(read, 'http://a.test.localhost'), [200, 'http://a.test.localhost'])
    // The bytes are the browser's to hold back.
    assert.deepEqual(await asks(read, 'https://elsewhere.example'), [200, null])
    const before = {
      method: 'OPTIONS',
      headers: { 'access-control-request-method': 'PUT', 'access-control-request-headers': 'content-type' },
    }
    assert.deepEqual(await asks(write, 'https://shop.example', before), [200, 'https://shop.example'])
    assert.deepEqual(await asks(write, 'https://elsewhere.example', before), [403, null])
    assert.deepEqual(await asks(write, 'https://shop.example', { method: 'PUT', body: 'second' }), [
      200,
      'https://shop.example',
    ])
    await using closed = await resource()
    await closed.start()
    await using other = await enter(closed, 'web')
    await other.put('a', 'first')
    const plain = await other.presign({ method: 'GET', key: 'a', expiresSeconds: 60 })
    assert.deepEqual(await asks(plain, 'https://shop.example'), [200, null])
  })

  test('it is metered: what it holds, and what was asked', async () => {
    await using bucket = await resource({ versions: true })
    await bucket.start()
    await using store = await enter(bucket, 'web')
    await store.put('a', Buffer.alloc(1000))
    await store.put('a', Buffer.alloc(2000))
    await store.put('b', Buffer.alloc(500))
    await store.delete('b')
    await new Response((await store.get('a'))?.body).arrayBuffer()
    await using reader = await enter(bucket, 'reader', 'read')
    await assert.rejects(reader.put('c', 'x'))
    const values = new Map((await provider.metrics(bucket.context)).map(({ name, value }) => [name, value]))
    assert.deepEqual(
      ['objects', 'versions', 'size_bytes', 'reads_total', 'writes_total', 'refused_total', 'failures_total'].map(
        (name) => values.get(`bucket_${name}`),
      ),
      [1, 4, 3500, 1, 5, 1, 0],
    )
    assert.equal(values.get('bucket_received_bytes_total'), 3501)
    // The answer to what was refused is among it.
    assert.ok((values.get('bucket_sent_bytes_total') ?? 0) > 2000)
    const position = await provider.position?.(bucket.context)
    assert.deepEqual(position?.counts, [{ name: 'db', added: 2, removed: 1, changed: 1 }])
  })

  test('after a return an entity tag of the time that was left changes nothing, and what is handed out says so', async () => {
    await using bucket = await resource({ versions: true })
    await bucket.start()
    await using store = await enter(bucket, 'web')
    const first = await store.put('invoice', 'as it was')
    const copy = join(host.dir, 'return-copy')
    {
      await using _frozen = await bucket.process().freeze()
      await host.copy(bucket.context.dataDir, copy)
    }
    const later = await store.put('invoice', 'of a time that will be left')
    assert.match(later.version ?? '', /^1\./)
    await bucket.stop()
    await host.copy(copy, bucket.context.dataDir)
    await provider.recover(bucket.context)
    await bucket.start()
    assert.deepEqual(await provider.carry?.(bucket.context, join(host.dir, 'none'), 2), [])
    await using again = await enter(bucket, 'web')
    assert.equal(await again.putIfMatch('invoice', 'lost', later.etag), null, 'refused')
    assert.equal(await again.get('invoice', { version: later.version ?? '' }), null)
    const put = await again.putIfMatch('invoice', 'goes on', first.etag)
    assert.match(put?.version ?? '', /^2\./)
    // And it stays so after the next start.
    await bucket.stop()
    await bucket.start()
    await using afterwards = await enter(bucket, 'web')
    assert.match((await afterwards.put('invoice', 'still')).version ?? '', /^2\./)
  })

  test('what differs between two states is named, a few by key; those that were lost come back', async () => {
    await using bucket = await resource()
    await bucket.start()
    await using store = await enter(bucket, 'web')
    for (const key of ['kept', 'changed', 'removed']) await store.put(key, key)
    const copyTo = async (name: string): Promise<string> => {
      await using _frozen = await bucket.process().freeze()
      await host.copy(bucket.context.dataDir, join(host.dir, name))
      return join(host.dir, name)
    }
    const before = await copyTo('compare-before')
    await store.put('changed', 'otherwise')
    await store.put('kept', 'kept')
    await store.delete('removed')
    for (let index = 0; index < 30; index++)
      await store.put(`new/${String(index).padStart(2, '0')}`, 'x', { contentType: 'text/plain', metadata: { n: '1' } })
    const later = await copyTo('compare-after')
    const { items, exact } = await provider.diff(bucket.context, before, later)
    assert.equal(exact, true)
    assert.deepEqual(items.at(0), { name: 'new/00', added: 1, removed: 0, changed: 0 })
    assert.deepEqual(items.at(-1), { name: 'db', added: 10, removed: 1, changed: 1 })
    assert.equal(items.length, 21)
    // Back to the first, and then what was lost is brought in.
    await bucket.stop()
    await host.copy(before, bucket.context.dataDir)
    await bucket.start()
    await using again = await enter(bucket, 'web')
    assert.equal(await provider.replay?.(bucket.context, later, { table: 'new/07', where: null }), 1)
    const brought = await again.get('new/07')
    assert.deepEqual([brought?.contentType, brought?.metadata], ['text/plain', { n: '1' }])
    await brought?.body.cancel()
    assert.equal(await provider.replay?.(bucket.context, later, { table: 'db', where: null }), 29)
    assert.equal(await new Response((await again.get('changed'))?.body).text(), 'changed', 'what is there stays')
    await assert.rejects(
      provider.replay?.(bucket.context, later, { table: 'none', where: null }) ?? Promise.resolve(),
      {
        code: 'objects.cannot-replay',
      },
    )
  })

  test('a copy is proved by reading every byte of it', async () => {
    await using bucket = await resource()
    await bucket.start()
    await using store = await enter(bucket, 'web')
    await store.put('small', 'x')
    const large = await store.put('large', Buffer.alloc(100_000, 'y'))
    await bucket.stop()
    const copy = join(host.dir, 'proved')
    await host.copy(bucket.context.dataDir, copy)
    const context = { ...bucket.context, dataDir: copy }
    const verified = await provider.verify?.(context, 'large')
    assert.equal(verified?.checks.length, 3)
    await assert.rejects(provider.verify?.(context, 'gone') ?? Promise.resolve(), /there is no object gone/)
    assert.equal(large.bytes, 100_000)
    spawnSync('sh', ['-c', `for f in $(find ${copy}/blobs -type f); do printf z | dd of=$f bs=1 conv=notrunc; done`])
    await assert.rejects(provider.verify?.(context, null) ?? Promise.resolve(), /the bytes with the hash .* are others/)
  })

  test('its server has little memory of its own', async () => {
    await using bucket = await resource()
    await bucket.start()
    await using store = await enter(bucket, 'web')
    await store.put('a', 'x')
    const pid = spawnSync('pgrep', ['-f', bucket.context.dataDir], { encoding: 'utf8' }).stdout.trim()
    // Beside it there is the program of Node, which all servers share.
    const own = Number(/^Pss_Anon:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1])
    assert.ok(own > 5_000 && own < 48_000, `${own} kB`)
  })
})
