/** Constant memory: 600 MB through a gateway, 300 each way, with backend, client and gateway in this one process. */
import assert from 'node:assert/strict'
import { request as httpRequest } from 'node:http'
import { test } from 'node:test'
import { backend, rig, route } from '../../test/gateway-rig.ts'

const total = 300 * 1024 * 1024
const growthMax = 200 * 1024 * 1024

test('bodies of 300 MB pass both ways while memory stays bounded', async (t) => {
  const piece = Buffer.alloc(64 * 1024, 1)
  const pump = (to: NodeJS.WritableStream): void => {
    let sent = 0
    const more = (): void => {
      while (sent < total) {
        sent += piece.length
        if (!to.write(piece)) return void to.once('drain', more)
      }
      to.end()
    }
    more()
  }
  let stored = 0
  const web = await backend(t, (request, response) => {
    if (request.method === 'GET') return pump(response)
    request.on('data', (chunk: Buffer) => (stored += chunk.length))
    request.on('end', () => response.end('stored'))
  })
  const { port } = await rig(t, [route([web.target('web-1')])])
  const options = { port, host: '127.0.0.1', agent: false, headers: { host: 'shop.test' } }
  const startBytes = process.memoryUsage().rss
  let highest = startBytes
  const watch = setInterval(() => (highest = Math.max(highest, process.memoryUsage().rss)), 10)
  t.after(() => clearInterval(watch))
  const received = await new Promise<number>((resolve, reject) => {
    let bytes = 0
    const request = httpRequest(options, (response) => {
      response.on('data', (chunk: Buffer) => (bytes += chunk.length))
      response.on('end', () => resolve(bytes)).on('error', reject)
    })
    request.on('error', reject).end()
  })
  assert.equal(received, total)
  const status = await new Promise<number>((resolve, reject) => {
    const request = httpRequest({ ...options, method: 'PUT' }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0))
    })
    request.on('error', reject)
    pump(request)
  })
  assert.equal(status, 200)
  assert.equal(stored, total)
  const growth = highest - startBytes
  t.diagnostic(`memory grew by ${Math.round(growth / 1024 / 1024)} MB`)
  assert.ok(growth < growthMax, `memory grew by ${growth} bytes`)
})
