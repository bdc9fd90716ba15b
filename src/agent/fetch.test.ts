/** Bundles that are fetched: once for all who wait, and never a wait without an end. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Bundle } from '../artifact/index.ts'
import { BundleFetcher } from './fetch.ts'

const digest = 'd'.repeat(64)

type Request = Parameters<ConstructorParameters<typeof BundleFetcher>[1]>[0]

/** A fetcher that imports bytes as a bundle whose digest they spell. */
function fetcher(connected: () => boolean = () => true): { fetcher: BundleFetcher; asked: Request[] } {
  const asked: Request[] = []
  const importBundle = async (bytes: AsyncIterable<Uint8Array>): Promise<Bundle> => {
    const text = Buffer.concat(await Array.fromAsync(bytes)).toString()
    return { digest: text, path: '/', manifest: { version: 1, runtime: null, files: [] } }
  }
  const ask = (request: Request): boolean => {
    if (connected()) asked.push(request)
    return connected()
  }
  return { fetcher: new BundleFetcher(importBundle, ask), asked }
}

const piece = (text: string, done = false, error: string | null = null) =>
  ({ type: 'bundle', digest, data: Buffer.from(text).toString('base64'), done, error }) as const

suite('fetching bundles', () => {
  test('one request for all who wait; the pieces make the bundle', async () => {
    const { fetcher: own, asked } = fetcher()
    const waiting = [own.fetch(digest), own.fetch(digest)]
    own.receive(piece(digest.slice(0, 10)))
    own.receive(piece(digest.slice(10)))
    own.receive(piece('', true))
    assert.deepEqual(
      (await Promise.all(waiting)).map((bundle) => bundle.digest),
      [digest, digest],
    )
    assert.deepEqual(asked, [{ digest, from: 0, pieces: 64 }])
  })

  test('more is asked for as it is taken in, and what comes unasked ends it', async () => {
    const { fetcher: own, asked } = fetcher()
    const waiting = own.fetch(digest)
    for (let sent = 0; sent < 64; sent += 1) own.receive(piece(digest[sent] ?? ''))
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(
      asked.map(({ from, pieces }) => [from, pieces]),
      [
        [0, 64],
        [64, 32],
        [96, 32],
      ],
    )
    own.receive(piece('', true))
    assert.equal((await waiting).digest, digest)

    const flooded = own.fetch(digest)
    for (let sent = 0; sent < 66; sent += 1) own.receive(piece('x'))
    await assert.rejects(flooded, { code: 'agent.no-bundle', message: /more than it was asked for/ })
  })

  test('another bundle than the one that was asked for is refused', async () => {
    const { fetcher: own } = fetcher()
    const waiting = own.fetch(digest)
    own.receive(piece('something else'))
    own.receive(piece('', true))
    await assert.rejects(waiting, { code: 'agent.no-bundle', message: /sent another one/ })
  })

  test('control that is away, goes away or does not have it: said at once, to be tried later', async () => {
    let connected = false
    const { fetcher: own } = fetcher(() => connected)
    await assert.rejects(own.fetch(digest), { code: 'agent.no-bundle', retry: 'later', message: /not connected/ })
    connected = true
    const lost = own.fetch(digest)
    own.disconnected()
    await assert.rejects(lost, { code: 'agent.no-bundle', retry: 'later', message: /went away/ })
    const lacking = own.fetch(digest)
    own.receive(piece('', true, 'nobody has it'))
    await assert.rejects(lacking, { code: 'agent.no-bundle', retry: 'later', message: /nobody has it/ })
  })
})
