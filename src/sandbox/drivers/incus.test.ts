/** What needs no server: the image that containers stand on, and machines that have none. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { needsRoot } from '../../../test/needs.ts'
import { systemClock } from '../../base/index.ts'
import { IncusApi, IncusRefusal } from './incus/api.ts'
import { containerImage } from './incus/image.ts'
import { containerInit } from './incus/init.ts'
import { incusDriver } from './incus.ts'

test('the image is an archive that others read, and the same bytes each time', () => {
  const image = containerImage('x86_64', [{ path: '/lib', linkTo: 'usr/lib' }])
  assert.deepEqual(containerImage('x86_64', [{ path: '/lib', linkTo: 'usr/lib' }]), image)
  assert.notEqual(containerImage('x86_64', []).fingerprint, image.fingerprint)
  const dir = mkdtempSync(join(tmpdir(), 'stead-image-'))
  try {
    writeFileSync(join(dir, 'image.tar.gz'), image.bytes)
    const { status, stderr } = spawnSync('tar', ['-xzf', 'image.tar.gz'], { cwd: dir, encoding: 'utf8' })
    assert.deepEqual([status, stderr], [0, ''])
    assert.match(readFileSync(join(dir, 'metadata.yaml'), 'utf8'), /^architecture: x86_64$/m)
    assert.equal(readFileSync(join(dir, 'rootfs/sbin/init'), 'utf8'), containerInit)
    assert.equal(statSync(join(dir, 'rootfs/sbin/init')).mode & 0o777, 0o755)
    assert.ok(statSync(join(dir, 'rootfs/control')).isDirectory())
    assert.equal(spawnSync('readlink', ['rootfs/lib'], { cwd: dir, encoding: 'utf8' }).stdout, 'usr/lib\n')
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})

test('its first program is one that Perl understands', () => {
  const { status, stderr } = spawnSync('perl', ['-c'], { input: containerInit, encoding: 'utf8' })
  assert.equal(status, 0, stderr)
})

test('a machine without a server is told what is missing', { skip: needsRoot() }, async () => {
  const nowhere = { clock: systemClock, groups: null, address: { socketPath: '/no/such/unix.socket' } }
  await assert.rejects(incusDriver(nowhere), {
    code: 'sandbox.unavailable',
    message: /\/no\/such\/unix\.socket does not answer/,
  })
})

test('what answers and is no such server is told as that', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'stead-other-'))
  const socketPath = join(dir, 'socket')
  const server = createServer((request, response) => {
    if (request.url === '/1.0') return void response.end('<html>')
    // A body without an end.
    const pour = (): void => {
      while (response.write('x'.repeat(2 ** 16)));
    }
    response.on('drain', pour).on('error', () => undefined)
    pour()
  })
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))
  try {
    const api = new IncusApi({ socketPath }, null)
    await assert.rejects(api.get('/1.0'), (error) => error instanceof IncusRefusal && /no JSON/.test(error.message))
    await assert.rejects(api.get('/endless'), { code: 'sandbox.unavailable', message: /larger than/ })
  } finally {
    server.closeAllConnections()
    server.close()
    rmSync(dir, { recursive: true, force: true })
  }
})
