/** Places for queues behind the HTTP interface in tests: a server of our own in its own process, reached as an edge reaches it. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createConnection, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock, systemRandom } from '../../../base/index.ts'
import type { QueuePlace } from '../../conformance.ts'
import { defaultRetry } from '../../retry.ts'
import { HttpClient } from './client.ts'
import { QueueService } from './service.ts'
import type { QueueServiceOptions } from './service.ts'
import { digestOf } from './users.ts'
import type { QueueRight } from './users.ts'
import { openHttpQueues } from '../http.ts'

const program = join(import.meta.dirname, 'main.ts')
const adminPassword = 'of-the-administrator'

type Forwarder = AsyncDisposable & { readonly port: number }

/** A server on a file in a folder of its own, in a process of its own or, which takes a tenth of the time, in this one. */
export class TestServer implements AsyncDisposable {
  readonly options: QueueServiceOptions
  readonly #folder: string
  readonly #forwarder: Forwarder
  readonly #inside: boolean
  readonly #users: { readonly name: string; readonly password: string; readonly rights: readonly QueueRight[] }[] = []
  #process: ChildProcess | undefined
  #service: QueueService | undefined

  private constructor(folder: string, options: QueueServiceOptions, forwarder: Forwarder, inside: boolean) {
    this.#folder = folder
    this.#inside = inside
    this.options = options
    this.#forwarder = forwarder
  }

  static async start(options: Partial<QueueServiceOptions> = {}, inside = true): Promise<TestServer> {
    const folder = await mkdtemp(join(tmpdir(), 'stead-queue-http-'))
    const socketPath = join(folder, 's')
    const all: QueueServiceOptions = {
      path: join(folder, 'queues.db'),
      socketPath,
      queue: 'mail',
      adminDigest: digestOf(adminPassword),
      // The policies of the cases are the clients' own.
      retry: { ...defaultRetry, attemptsMax: 1_000_000 },
      leaseMs: 30_000,
      bodyBytesMax: 16 * 2 ** 20,
      messagesMax: 1_000_000,
      bytesMax: 2 ** 33,
      ...options,
    }
    const server = new TestServer(folder, all, await (inside ? forward : forwardOutside)(socketPath), inside)
    await server.run()
    return server
  }

  /** The server process, while one runs. */
  get pid(): number {
    return this.#process?.pid ?? assert.fail('no server runs')
  }

  get port(): number {
    return this.#forwarder.port
  }

  /** What the administrator asks with. */
  admin(): HttpClient {
    const authorization = `Bearer ${adminPassword}`
    return new HttpClient({ at: { socketPath: this.options.socketPath }, authorization, shown: 'the test server' })
  }

  /** Starts it, and lets in who was let in before. */
  async run(): Promise<void> {
    if (this.#inside) this.#service = await QueueService.start(this.options, systemClock, systemRandom)
    else await this.#spawn()
    for (const user of this.#users) await this.#put(user)
  }

  async #spawn(): Promise<void> {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program], {
      env: { STEAD_QUEUE: JSON.stringify(this.options) },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.#process = child
    const ended = once(child, 'exit').then(() => assert.fail('the server ended at once'))
    ended.catch(() => {})
    await Promise.race([once(child.stdout, 'data'), ended])
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#process
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
  }

  /** Lets a login in; answers its URL. */
  async letIn(name: string, rights: readonly QueueRight[] = ['send', 'receive', 'manage']): Promise<string> {
    const user = { name, password: `password-of-${name}`, rights }
    this.#users.push(user)
    await this.#put(user)
    return `http://${name}:${user.password}@127.0.0.1:${this.port}/v1/queues/${this.options.queue}`
  }

  async #put({
    name,
    password,
    rights,
  }: {
    name: string
    password: string
    rights: readonly QueueRight[]
  }): Promise<void> {
    const client = this.admin()
    await client.call('PUT', `/admin/users/${name}`, { digest: digestOf(password), rights })
    client.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    await this.#service?.[Symbol.asyncDispose]()
    await this.#forwarder[Symbol.asyncDispose]()
    await rm(this.#folder, { recursive: true })
  }
}

/** Leads a port on loopback to the socket, as an edge does. */
async function forward(socketPath: string): Promise<Forwarder> {
  const open = new Set<Socket>()
  const listener = createServer((client) => {
    const server = createConnection(socketPath)
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      open.add(from)
      from
        .on('error', () => {})
        .once('close', () => {
          to.destroy()
          open.delete(from)
        })
      from.pipe(to)
    }
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  return {
    port: (listener.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy()
      await new Promise((resolve) => listener.close(resolve))
    },
  }
}

/** The same in a process of its own, as the agent is one: a busy event loop here keeps nobody from getting through. */
async function forwardOutside(socketPath: string): Promise<Forwarder> {
  const forwarder = `
    const { createConnection, createServer } = require('node:net')
    const listener = createServer((client) => {
      const server = createConnection(${JSON.stringify(socketPath)})
      for (const [from, to] of [[client, server], [server, client]])
        from.on('error', () => {}).once('close', () => to.destroy()).pipe(to)
    })
    listener.listen(0, '127.0.0.1', () => console.log(listener.address().port))`
  const child = spawn(process.execPath, ['-e', forwarder], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const [port]: unknown[] = await once(child.stdout, 'data')
  return {
    port: Number(String(port)),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await exited
    },
  }
}

/** A new server with nothing in it; it ends when the place is disposed of. */
export async function makeHttpPlace(messagesMax: number): Promise<QueuePlace> {
  return placeOn(await TestServer.start({ messagesMax, queue: 'own' }, false))
}

/** The same within this process, and so without a server to kill. */
export async function makeInnerHttpPlace(messagesMax: number): Promise<QueuePlace> {
  return { ...(await placeOn(await TestServer.start({ messagesMax, queue: 'own' }))), restart: null }
}

async function placeOn(server: TestServer): Promise<QueuePlace> {
  const url = await server.letIn('tester')
  return {
    open: (options = {}) => openHttpQueues({ ...options, url }),
    elsewhere: { module: import.meta.resolve('../http.ts'), name: 'openHttpQueues', options: { url } },
    async restart() {
      await server.kill()
      await server.run()
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}
