/**
 * A small internet for tests: a namespace for the platform, and behind it one with servers at public, private and metadata
 * addresses. Names are served where the machine's own settings point, so that nothing of the platform is told of the test.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { getServers } from 'node:dns'
import { closeSync, openSync } from 'node:fs'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { openLibc } from '../src/network/index.ts'

/** What every server of the world answers with, after its own address. */
export const worldPort = 8080

/** A name server for A records (others have none), as a program. Arguments: where to listen, and the zone as JSON. */
const nameServer = `
  const [addresses, zone] = process.argv.slice(1).map((text) => JSON.parse(text))
  const answer = (question) => {
    let at = 12
    const labels = []
    while (question[at] > 0) { labels.push(question.toString('latin1', at + 1, at + 1 + question[at])); at += question[at] + 1 }
    const name = labels.join('.').toLowerCase()
    const found = question.readUInt16BE(at + 1) === 1 ? (zone[name] ?? []) : []
    console.log('asked ' + name)
    const head = Buffer.from(question.subarray(0, 12))
    head.writeUInt16BE(0x8180 | (zone[name] === undefined ? 3 : 0), 2); head.writeUInt16BE(found.length, 6); head.writeUInt16BE(0, 10)
    const records = found.map((address) => Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, ...address.split('.').map(Number)]))
    return Buffer.concat([head, question.subarray(12, at + 5), ...records])
  }
  let left = addresses.length
  for (const address of addresses) {
    const socket = require('node:dgram').createSocket('udp4')
    socket.on('message', (question, from) => socket.send(answer(question), from.port, from.address))
    socket.bind(53, address, () => { left -= 1; if (left === 0) console.log('ready') })
  }`

/** A web server at every address of its namespace. */
const webServer = `
  require('node:http').createServer((question, answer) => {
    console.log('reached ' + question.socket.localAddress)
    answer.end('served by ' + question.socket.localAddress)
  }).listen(${worldPort}, '0.0.0.0', () => console.log('ready'))`

export interface OutsideWorld extends AsyncDisposable {
  /** Runs a synchronous function where the platform is to live. */
  enter<T>(run: () => T): T
  /** Names that were asked of the name servers, and addresses at which a web server was reached. */
  readonly asked: readonly string[]
  readonly reached: readonly string[]
}

function ip(...args: readonly string[]): void {
  const { status, stderr } = spawnSync('ip', args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`)
}

/** Makes the world: web servers at `addresses`, and the names of `zone`. Needs root, Linux, Node 26 and iproute2. */
export async function createOutsideWorld(
  addresses: readonly string[],
  zone: Readonly<Record<string, readonly string[]>>,
): Promise<OutsideWorld> {
  const libc = openLibc()
  if ('reason' in libc) throw new Error(libc.reason)
  await using stack = new AsyncDisposableStack()
  const [near, far] = [`st-near-${process.pid}`, `st-far-${process.pid}`]
  for (const name of [near, far]) {
    ip('netns', 'add', name)
    stack.defer(() => ip('netns', 'delete', name))
    ip('-n', name, 'link', 'set', 'lo', 'up')
  }
  ip('-n', near, 'link', 'add', 'far', 'type', 'veth', 'peer', 'name', 'near', 'netns', far)
  ip('-n', near, 'address', 'add', '198.51.100.2/24', 'dev', 'far')
  ip('-n', far, 'address', 'add', '198.51.100.1/24', 'dev', 'near')
  ip('-n', near, 'link', 'set', 'far', 'up')
  ip('-n', far, 'link', 'set', 'near', 'up')
  ip('-n', near, 'route', 'add', 'default', 'via', '198.51.100.1')
  for (const address of addresses) ip('-n', far, 'address', 'add', `${address}/32`, 'dev', 'lo')
  const servers = getServers().map((server) => server.replace(/:\d+$/, ''))
  for (const server of servers.filter((address) => !address.startsWith('127.')))
    ip('-n', near, 'address', 'add', `${server}/32`, 'dev', 'lo')

  const nearFd = openSync(`/run/netns/${near}`, 'r')
  stack.defer(() => closeSync(nearFd))
  const farFd = openSync(`/run/netns/${far}`, 'r')
  stack.defer(() => closeSync(farFd))
  const asked: string[] = []
  const reached: string[] = []
  const run = async (fd: number, script: string, ...args: readonly string[]): Promise<void> => {
    const child: ChildProcess = libc.inside(fd, () =>
      spawn(process.execPath, ['-e', script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] }),
    )
    stack.defer(async () => {
      if (child.exitCode !== null) return
      child.kill('SIGKILL')
      await once(child, 'exit')
    })
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    child.once('exit', () => reject(new Error('a server of the test ended')))
    if (child.stdout === null) throw new Error('no output')
    createInterface({ input: child.stdout }).on('line', (line) => {
      const [what = '', rest = ''] = line.split(' ')
      if (what === 'ready') resolve()
      if (what === 'asked') asked.push(rest)
      if (what === 'reached') reached.push(rest)
    })
    await promise
  }
  await run(nearFd, nameServer, JSON.stringify(servers), JSON.stringify(zone))
  await run(farFd, webServer)
  const world = stack.move()
  return {
    enter: (work) => libc.inside(nearFd, work),
    asked,
    reached,
    [Symbol.asyncDispose]: () => world.disposeAsync(),
  }
}
