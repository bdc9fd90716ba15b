/** A part that is taken over: it trips a wire, is frozen, replaced and kept as evidence, and a person decides. */
import assert from 'node:assert/strict'
import { accessSync, constants, globSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { type OperatorClient, operatorClient, type Status } from '../src/operator/index.ts'
import type { Incident } from '../src/protocol/index.ts'
import { ask, eventually, freePort, Workbench } from './command-line.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'

const skip = needsAll(
  needsRoot(),
  needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'),
  needsFile('/usr/bin/python3', 'apt-get install python3'),
)

const appFile = `
import { app, secret, service } from 'stead'

export default app('trap', () => {
  const key = secret('key')
  const web = service('web', { from: './web', run: ['node', 'server.js'], http: 3000, use: { key }, tripwire: 'freeze' })
  const watched = service('watched', { from: './web', run: ['node', 'server.js'], http: 3000, tripwire: 'record' })
  const escapes = service('escapes', { from: './escapes', run: ['python3', 'server.py'], http: 3000, tripwire: 'freeze' })
  return { parts: { web, watched, escapes }, public: { 'web.localhost': web, 'watched.localhost': watched, 'escapes.localhost': escapes } }
})
`

const server = `
const { createServer } = require('node:http')
const { existsSync, readdirSync, readFileSync, writeFileSync } = require('node:fs')
const net = require('node:net')
const dial = (host) => new Promise((resolve) => net.connect(80, host).on('error', resolve).on('connect', resolve))
createServer(async (question, answer) => {
  // Reading all of one's own secrets is no offence.
  if (existsSync(process.env.STEAD_SECRETS)) readdirSync(process.env.STEAD_SECRETS).forEach((name) => readFileSync(process.env.STEAD_SECRETS + '/' + name))
  answer.end(process.env.STEAD_INSTANCE)
  // As an intruder would: after the answer, so that the request is not the one that is caught.
  if (question.url === '/steal') for (const name of readdirSync('/run/credentials')) readFileSync('/run/credentials/' + name)
  if (question.url === '/plant') writeFileSync('/run/credentials/root', 'mine')
  if (question.url === '/scan') for (let i = 1; i <= 30; i++) await dial('203.0.113.' + i)
}).listen(process.env.PORT)
`

const escapes = `
import ctypes, os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ['STEAD_INSTANCE'].encode())
        if self.path == '/escape' and os.fork() == 0:
            ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None)
            os._exit(0)
    def log_message(self, *arguments):
        pass

HTTPServer(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()
`

suite('tripwires', { skip }, () => {
  test('what trips a wire is frozen, replaced and kept; a person lets it go on or ends it', async (t) => {
    await using bench = new Workbench()
    bench.write({ 'app.ts': appFile, 'web/server.js': server, 'escapes/server.py': escapes })
    const port = await freePort()
    let running = bench.up('--port', String(port))
    await running.until(/trap runs, after/)
    // What is looked at again and again is asked for directly: a command costs a second here.
    const operator = async (): Promise<OperatorClient> => {
      const client = await operatorClient(operatorSocket(bench))
      assert.ok(client !== null)
      return client
    }
    const incidents = async (): Promise<readonly Incident[]> => (await operator()).incidents('trap')
    const status = async (): Promise<Status> => (await operator()).status('trap')
    const get = async (part: string, path: string): Promise<string> =>
      (await ask(port, path, { host: `${part}.localhost` })).body
    const otherThan = (instance: string) => (body: string) => body.startsWith('trap.') && body !== instance

    assert.deepEqual(await incidents(), [])

    // A decoy is read: the instance stands still, and another answers.
    const thief = await get('web', '/steal')
    const [theft] = await eventually('an incident', incidents, (found) => found.length === 1)
    assert.ok(theft !== undefined)
    assert.deepEqual(
      [theft.instance, theft.wire, theft.state, theft.what],
      [thief, 'decoy', 'frozen', 'it read the decoy /run/credentials/root'],
    )
    await eventually('another one answers', () => get('web', '/'), otherThan(thief))
    const shown = await status()
    assert.match(shown.parts.find(({ instance }) => instance === thief)?.reason ?? '', /^frozen: it read the decoy/)
    assert.match(
      await eventually(
        'the evidence',
        async () => (await incidents())[0]?.timeline.map(({ text }) => text).join('\n') ?? '',
        (text) => text.includes('evidence') && text.includes('rotat'),
      ),
      /^tripped: it read the decoy \/run\/credentials\/root\nfrozen\n(?=[^]*evidence kept: .*processes\.txt)(?=[^]*rotating key)/,
    )
    assert.equal(statSync(theft.evidence).mode & 0o777, 0o700)
    for (const name of readdirSync(theft.evidence))
      assert.equal(statSync(join(theft.evidence, name)).mode & 0o777, 0o600, name)
    assert.match(readFileSync(join(theft.evidence, 'processes.txt'), 'utf8'), /process \d+: .*node.* server\.js/)
    assert.doesNotMatch(readFileSync(join(theft.evidence, 'processes.txt'), 'utf8'), /STEAD_SECRETS/)
    assert.match((await bench.stead('incidents')).stdout, new RegExp(`${theft.id}.*web.*frozen.*it read the decoy`))
    assert.equal((await bench.stead('incidents', theft.id)).code, 4)
    assert.match((await bench.stead('logs', 'web', '.')).stdout, /stead: web tripped a wire: it read the decoy/)

    // It stays frozen over the death of the platform.
    await running.stop('SIGKILL')
    running = bench.up('--port', String(port))
    await running.until(/trap runs, after/)
    const kept = JSON.parse((await bench.stead('incidents', '--json')).stdout) as Incident[]
    assert.equal(kept[0]?.state, 'frozen')
    assert.match(
      (await status()).parts.find(({ instance }) => instance === thief)?.reason ?? '',
      /^frozen: it read the decoy/,
    )

    // A person ends it; its record goes, what was kept of it stays.
    assert.equal((await bench.stead('incidents', 'kill', theft.id)).code, 0)
    await eventually('it is gone', status, ({ parts }) => !parts.some(({ instance }) => instance === thief))
    assert.equal((await incidents())[0]?.state, 'ended')
    const again = await bench.stead('incidents', 'release', theft.id)
    assert.equal(again.code, 1)
    assert.match(again.stderr, /nothing of the incident .* is frozen/)

    // A search for addresses is seen; a false alarm is let go on.
    const scanner = await get('web', '/scan')
    const scan = await eventually('a second incident', incidents, (found) => found[0]?.wire === 'addresses')
    assert.equal(scan[0]?.instance, scanner)
    await eventually('another one answers', () => get('web', '/'), otherThan(scanner))
    assert.equal((await bench.stead('incidents', 'release', scan[0]?.id ?? '')).code, 0)
    assert.equal((await incidents())[0]?.state, 'released')

    // What cannot be done is said.
    for (const [words, code, says] of [
      [['release'], 2, /needs the id of an incident/],
      [['a', 'b'], 2, /too many arguments/],
      [['web-none'], 1, /trap has no incident web-none/],
      [['kill', 'web-none'], 1, /trap has no incident web-none/],
    ] as const) {
      const refused = await bench.stead('incidents', ...words)
      assert.equal(refused.code, code, refused.stderr)
      assert.match(refused.stderr, says)
    }

    // With `record` it goes on.
    const planter = await get('watched', '/plant')
    const plants = await eventually(
      'a third incident',
      incidents,
      (found) => found[0]?.wire === 'decoy' && found.length === 3,
    )
    assert.deepEqual([plants[0]?.state, plants[0]?.what], ['recorded', 'it wrote to the decoy /run/credentials/root'])
    assert.equal(await get('watched', '/'), planter)

    // A child that tries to mount is ended by the kernel, whose log tells of it.
    if (!canReadKernelLog()) return t.diagnostic('the kernel log is closed on this machine: system calls are not tried')
    const escaping = await get('escapes', '/escape')
    const [escape] = await eventually('a fourth incident', incidents, (found) => found[0]?.wire === 'system-call')
    assert.deepEqual([escape?.state, escape?.instance], ['frozen', escaping])
    assert.match(escape?.what ?? '', /^its process \d+ was ended for the system call mount$/)
    await eventually('another one answers', () => get('escapes', '/'), otherThan(escaping))
  })
})

function operatorSocket(bench: Workbench): string {
  const root = bench.env['STEAD_RUN'] ?? ''
  const [found] = globSync('**/operator.sock', { cwd: root })
  assert.ok(found !== undefined)
  return join(root, found)
}

function canReadKernelLog(): boolean {
  try {
    accessSync('/dev/kmsg', constants.R_OK)
    return true
  } catch {
    return false
  }
}
