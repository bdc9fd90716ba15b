/**
 * From an inspector that every local program could reach to one that only its own user can: a worker thread of the process
 * carries the protocol over a Unix socket in a directory of that user, and the port is closed again.
 *
 * Invariants: the thread ends with the connection, whatever ends that, and takes breakpoints and pauses with it. Who cannot say
 * the word that the thread was told is not listened to.
 */
import { randomBytes } from 'node:crypto'
import { chownSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '../../base/index.ts'
import { Cdp } from '../cdp/client.ts'
import { bridgeName } from '../node/workers.ts'
import type { ProcessFacts } from '../recipe.ts'
import { didNotAnswer } from '../refusals.ts'
import { rightsOf } from './adapter-process.ts'
import { isAlive } from './proc.ts'

/** Longest wait for the thread: a busy machine starts it in half a second. */
const openMs = 15_000
const lineBytesMax = 64_000_000
/** What the main thread was told before its end is heard by then. */
const lingerMs = 200

/** A connection by way of the process itself. `cdp` is the one it has by its port. Throws what it fails with. */
export async function openBridge(cdp: Cdp, facts: ProcessFacts, clock: Clock): Promise<Cdp> {
  const dir = mkdtempSync(join(tmpdir(), 'stead-bridge-'))
  const { uid, gid } = rightsOf(facts)
  if (uid !== undefined && gid !== undefined) chownSync(dir, uid, gid)
  const path = join(dir, 's')
  const word = randomBytes(16).toString('hex')
  const { server, connected } = listening(word)
  connected.catch(() => undefined)
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(path, resolve)
    })
    if (uid !== undefined && gid !== undefined) chownSync(path, uid, gid)
    const expression = startThread(path, word)
    const { exceptionDetails } = await cdp.call('Runtime.evaluate', {
      expression,
      includeCommandLineAPI: true,
      silent: true,
    })
    if (exceptionDetails !== undefined) throw new Error(exceptionDetails.exception?.description ?? 'it was refused')
    const late = Promise.withResolvers<never>()
    using _timer = clock.after(openMs, () => late.reject(didNotAnswer('the thread that carries the inspector', openMs)))
    return carry(await Promise.race([connected, late.promise]), facts, clock)
  } finally {
    server.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

function listening(word: string): { readonly server: Server; readonly connected: Promise<Socket> } {
  const { promise, resolve } = Promise.withResolvers<Socket>()
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    let said = ''
    const hear = (piece: Buffer): void => {
      said += piece.toString('latin1')
      if (!`${word}\n`.startsWith(said)) return void socket.destroy()
      if (said.length <= word.length) return
      socket.off('data', hear)
      socket.pause()
      resolve(socket)
    }
    socket.on('data', hear)
  })
  server.maxConnections = 2
  return { server, connected: promise }
}

function carry(socket: Socket, facts: ProcessFacts, clock: Clock): Cdp {
  const cdp = new Cdp({ send: (text) => socket.write(`${text}\n`), close: () => socket.destroy() }, clock)
  let pieces: Buffer[] = []
  let held = 0
  socket.on('data', (piece: Buffer) => {
    let at = 0
    for (let end = piece.indexOf(10); end !== -1; end = piece.indexOf(10, at)) {
      cdp.receive(Buffer.concat([...pieces, piece.subarray(at, end)]).toString())
      pieces = []
      held = 0
      at = end + 1
    }
    if (at === piece.length) return
    pieces.push(piece.subarray(at))
    held += piece.length - at
    if (held > lineBytesMax) socket.destroy()
  })
  socket.on('close', () => cdp.end(isAlive(facts) ? 'it was closed' : `process ${facts.pid} ended`))
  socket.resume()
  return cdp
}

/** Starts the thread. It does not keep the program alive, and what fails in it is no error of the program. */
function startThread(path: string, word: string): string {
  const told = JSON.stringify({ path, word })
  return `(() => {
    const { Worker } = require('node:worker_threads')
    const options = { eval: true, name: '${bridgeName}', workerData: ${told}, execArgv: [], stdout: false }
    const worker = new Worker(${JSON.stringify(threadSource)}, options)
    worker.on('error', () => {})
    worker.on('message', () => setTimeout(() => worker.terminate(), ${lingerMs}).unref())
    worker.unref()
  })()`
}

/**
 * The thread lets go of the main thread and is ended by that, when it has come to it: Node 20 aborts where a thread is gone
 * before the main thread has heard that its session is. A main thread that hangs for ever keeps it, idle.
 */
const threadSource = `
const { connect } = require('node:net')
const { Session } = require('node:inspector')
const { parentPort, workerData: { path, word } } = require('node:worker_threads')
const session = new Session()
session.connectToMainThread()
const socket = connect(path)
const say = (message) => socket.write(JSON.stringify(message) + '\\n')
setInterval(() => {}, 2 ** 30)
const state = { ended: false }
const end = () => {
  if (state.ended) return
  state.ended = true
  session.disconnect()
  parentPort.postMessage('done')
}
socket.on('error', end)
socket.on('close', end)
session.on('inspectorNotification', say)
const held = { rest: "" }
socket.setEncoding('utf8').on('data', (text) => {
  const lines = (held.rest + text).split('\\n')
  held.rest = lines.pop()
  for (const line of lines) {
    const { id, method, params } = JSON.parse(line)
    session.post(method, params, (error, result) => say(error ? { id, error } : { id, result }))
  }
})
socket.write(word + '\\n')
`
