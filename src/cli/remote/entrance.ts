/**
 * The ways into the daemon besides its owner's socket: the gate with the people's socket, and what sshd starts for somebody
 * who came by SSH. Invariant: who that is says sshd's configuration, never the one who comes.
 */
import { once } from 'node:events'
import { request } from 'node:http'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { systemClock, systemCodeOf, systemRandom } from '../../base/index.ts'
import { type Entrance, openGate } from '../../operator/index.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { daemonSocket, type Home } from '../home.ts'

/** Opens the gate of the daemon. STEAD_AUTHORIZED_KEYS names another file for SSH keys than that of this account. */
export async function openEntrance(home: Home, onNotice: (text: string) => void): Promise<Entrance & AsyncDisposable> {
  const gate = await openGate({
    directory: join(home.appDir, 'access'),
    keysPath: process.env['STEAD_AUTHORIZED_KEYS'] ?? join(userInfo().homedir, '.ssh', 'authorized_keys'),
    entrance: entranceWords(),
    clock: systemClock,
    random: systemRandom,
    onNotice,
  })
  return {
    gate,
    socketPath: join(home.runDir, 'people.sock'),
    [Symbol.asyncDispose]: () => gate[Symbol.asyncDispose](),
  }
}

/** The words with which sshd starts this Stead: its own environment knows nothing of ours. */
function entranceWords(): string[] {
  const own = ['STEAD_STATE', 'STEAD_RUN'].flatMap((name) => {
    const value = process.env[name]
    return value === undefined ? [] : [`${name}=${value}`]
  })
  const entry = process.env['STEAD_ENTRY']
  const start = entry === undefined ? [process.execPath, ...process.execArgv, process.argv[1] ?? 'stead'] : [entry]
  return own.length === 0 ? start : ['/usr/bin/env', ...own, ...start]
}

/**
 * `stead access serve`: carries standard input and output to the daemon, as the person that sshd says it is, or as the
 * owner for whoever got a shell and may open the owner's socket. Ends with either side.
 */
export async function enter(person: string | null): Promise<ExitCode> {
  const address = process.env['SSH_CONNECTION']?.split(' ')[0] ?? ''
  const account = process.env['SUDO_USER'] ?? ''
  const from = ['ssh', address === '' ? 'unknown' : address, account].join(' ').trimEnd()
  const question = request({
    socketPath: daemonSocket(),
    path: `/v1/as/${encodeURIComponent(person ?? 'owner')}`,
    headers: { connection: 'upgrade', upgrade: 'stead', 'stead-from': from },
  })
  const { promise, resolve } = Promise.withResolvers<Duplex | { status: number; body: string }>()
  question.on('upgrade', (_answer, socket, head) => {
    if (head.length > 0) socket.unshift(head)
    resolve(socket)
  })
  question.on('response', (answer) => {
    void text(answer).then((body) => resolve({ status: answer.statusCode ?? 500, body }))
  })
  question.on('error', (error) => {
    const code = ['ENOENT', 'ECONNREFUSED'].includes(systemCodeOf(error) ?? '')
      ? 'operator.not-running'
      : 'operator.internal'
    const message = code === 'operator.not-running' ? '`stead serve` does not run on this server' : error.message
    resolve({ status: 503, body: JSON.stringify({ code, message, retry: 'later' }) })
  })
  question.end()
  const found = await promise
  if (found instanceof Duplex) {
    // A side that goes away is the usual end.
    await Promise.all([pipeline(process.stdin, found), pipeline(found, process.stdout)]).catch(() => {})
    return exitCodes.ok
  }
  // Told in the language of who asks: the refusal is the answer to whatever comes first.
  await once(process.stdin, 'data')
  const head = `HTTP/1.1 ${found.status} Refused\r\ncontent-type: application/json\r\nconnection: close`
  process.stdout.write(`${head}\r\ncontent-length: ${Buffer.byteLength(found.body)}\r\n\r\n${found.body}`)
  process.stdin.destroy()
  return exitCodes.ok
}
