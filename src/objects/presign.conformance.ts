/** Signed URLs, used by somebody who has no key. */
import assert from 'node:assert/strict'
import { isSteadError } from '../base/index.ts'
import type { ObjectsCase } from './conformance.ts'
import { bytesOf } from './objects.conformance.ts'

export const presignCases: readonly ObjectsCase[] = [
  {
    name: 'a signed URL does the one thing that was signed',
    async run(store) {
      const key = 'folder/with space & ünïcödé'
      if (!store.capabilities.presign) {
        const unsupported = (error: unknown): boolean => isSteadError(error) && error.code === 'objects.unsupported'
        return assert.rejects(store.presign({ method: 'GET', key, expiresSeconds: 60 }), unsupported)
      }
      const put = await store.presign({ method: 'PUT', key, expiresSeconds: 60, contentType: 'text/plain' })
      const sent = await fetch(put, { method: 'PUT', body: 'sent', headers: { 'content-type': 'text/plain' } })
      assert.equal(sent.status, 200, await sent.text())
      assert.equal((await bytesOf(await store.get(key))).toString(), 'sent')
      assert.equal((await store.stat(key))?.contentType, 'text/plain')
      const get = await store.presign({ method: 'GET', key, expiresSeconds: 60 })
      assert.equal(await (await fetch(get)).text(), 'sent')
      assert.equal((await fetch(get, { method: 'DELETE' })).status, 403)
      assert.equal((await fetch(get.replace('folder', 'other'))).status, 403)
      assert.equal((await fetch(get.replace('X-Amz-Expires=60', 'X-Amz-Expires=600'))).status, 403)
    },
  },
  {
    name: 'a URL is signed for a time that can be',
    async run(store) {
      const bad = (error: unknown): boolean => isSteadError(error) && error.code === 'objects.bad-input'
      await assert.rejects(store.presign({ method: 'GET', key: 'a', expiresSeconds: 0 }), bad)
      await assert.rejects(store.presign({ method: 'GET', key: 'a', expiresSeconds: 8 * 86_400 }), bad)
    },
  },
]
