/**
 * One suite for every provider, and the small host it runs on: a temporary directory, programs as an unprivileged user
 * where the test is root (plain otherwise, and without a sandbox), and a forwarder that plays a consumer's edge.
 *
 * Invariant of the host: whatever a test does, disposing ends every process it started and removes every file.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { chown, mkdir, mkdtemp, readdir, readFile, rm, chmod } from 'node:fs/promises'
import { createServer, createConnection } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { randomPassword, systemClock, systemRandom } from '../base/index.ts'
import type { Json } from '../base/index.ts'
import { cases } from './cases.ts'
import type {
  BindTarget,
  Binding,
  Grant,
  ProgramResult,
  Provider,
  ProviderContext,
  ProviderProgram,
  ProviderServer,
  RunningServer,
} from './provider.ts'

/** The user that programs run as when the test is root: `nobody`, who has a line in every /etc/passwd. */
const unprivilegedUser = 65_534
const readyTimeoutMs = 60_000
const outputCharsMax = 65_536

/** A consumer of a resource under test, with nothing but its binding. */
export interface TestClient extends AsyncDisposable {
  /** Adds an item; resolves when it is acknowledged. */
  write(item: number): Promise<void>
  /** Everything there is, in ascending order. */
  items(): Promise<readonly number[]>
}

/** What the suite needs to know of a provider. */
export interface ProviderSubject {
  readonly provider: Provider
  readonly config: Json
  /** Files the config refers to. */
  readonly filesDir: string | null
  /** Lets a consumer in by its binding, or throws; null when nothing is dialled, and then only its steps are tested. */
  readonly connect: ((binding: Binding) => Promise<TestClient>) | null
  /** The metric that counts open clients, where there is one. */
  readonly connectionsMetric: string | null
}

/** The cases of the suite, as keys for skipping. */
export type ProviderCase =
  | 'steps'
  | 'provision-again'
  | 'provision-killed'
  | 'not-ready'
  | 'consumer'
  | 'isolation'
  | 'new-password'
  | 'two-logins'
  | 'revoke'
  | 'crash'
  | 'checkpoint'
  | 'diff'
  | 'pending'
  | 'rehearse'
  | 'carry'
  | 'replay'
  | 'metrics'

/** A program that runs on the host: a process and all it has started. */
export interface HostProcess {
  /** Settles when it has ended. */
  readonly ended: Promise<ProgramResult>
  /** Its last lines so far. */
  output(): string
  signal(signal: NodeJS.Signals): void
  /** Stops it and its descendants where they stand, as a snapshot of the disk sees them; disposing lets them go on. */
  freeze(): Promise<AsyncDisposable>
  /** Ends it and its descendants at once. */
  kill(): Promise<void>
}

/** A machine for tests of providers. */
export interface TestHost extends AsyncDisposable {
  /** Temporary directory, readable by every user. */
  readonly dir: string
  /** Makes a directory that belongs to the user that programs run as. */
  makeDir(path: string): Promise<void>
  start(program: Omit<ProviderProgram, 'timeoutMs'>): HostProcess
  /** Runs a program to its end. */
  run(program: ProviderProgram): Promise<ProgramResult>
  /** Copies a directory with owners and all. What was at the other place is removed first. */
  copy(from: string, to: string): Promise<void>
}

/** Makes a host for tests. Disposing it ends and removes everything. */
export async function makeTestHost(): Promise<TestHost> {
  const dir = await mkdtemp(join(tmpdir(), 'stead-'))
  await chmod(dir, 0o755)
  const isRoot = process.getuid?.() === 0
  const processes = new Set<HostProcess>()
  const host: TestHost = {
    dir,
    async makeDir(path) {
      await mkdir(path, { mode: 0o700 })
      if (isRoot) await chown(path, unprivilegedUser, unprivilegedUser)
    },
    start(program) {
      const [command = '', ...args] = program.argv
      const child = spawn(command, args, {
        env: program.env,
        cwd: '/',
        stdio: ['ignore', 'pipe', 'pipe'],
        ...(isRoot ? { uid: unprivilegedUser, gid: unprivilegedUser } : {}),
      })
      const started = hostProcess(child)
      processes.add(started)
      void started.ended.then(() => processes.delete(started))
      return started
    },
    async run(program) {
      const started = host.start(program)
      using _timer = systemClock.after(program.timeoutMs, () => void started.kill())
      return await started.ended
    },
    async copy(from, to) {
      await rm(to, { recursive: true, force: true })
      const copied = hostProcess(spawn('cp', ['-a', from, to], { stdio: ['ignore', 'pipe', 'pipe'] }))
      const { code, output } = await copied.ended
      assert.equal(code, 0, output)
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...processes].map((started) => started.kill()))
      await rm(dir, { recursive: true, force: true, maxRetries: 5 })
    },
  }
  return host
}

function hostProcess(child: ChildProcess): HostProcess {
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-outputCharsMax)
    })
  }
  const ended = new Promise<ProgramResult>((resolve) => {
    child.once('error', (error) => resolve({ code: null, sentence: `could not be started: ${error.message}`, output }))
    // `close` comes when its output is closed too, which is when everything it started is gone.
    child.once('close', (code, signal) => {
      resolve({ code, sentence: code === null ? `killed by ${signal}` : `ended with code ${code}`, output })
    })
  })
  /** Stops the process before looking for its children, so that none can be missed. */
  const stopTree = async (): Promise<readonly number[]> => {
    const stopped: number[] = []
    const queue = child.pid === undefined || child.exitCode !== null || child.signalCode !== null ? [] : [child.pid]
    for (let pid = queue.shift(); pid !== undefined; pid = queue.shift()) {
      if (!trySignal(pid, 'SIGSTOP')) continue
      stopped.push(pid)
      queue.push(...(await childrenOf(pid)))
    }
    return stopped
  }
  return {
    ended,
    output: () => output,
    signal: (signal) => void child.kill(signal),
    async freeze() {
      const stopped = await stopTree()
      return {
        [Symbol.asyncDispose]: async () => stopped.forEach((pid) => trySignal(pid, 'SIGCONT')),
      }
    },
    async kill() {
      for (const pid of await stopTree()) trySignal(pid, 'SIGKILL')
      await ended
    },
  }
}

function trySignal(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

async function childrenOf(parent: number): Promise<readonly number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const parents = await Promise.all(
    pids.map(async (pid) => {
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
      return { pid, parent: Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) }
    }),
  )
  return parents.filter((entry) => entry.parent === parent).map(({ pid }) => pid)
}

/** A resource on a host, with its server under the test's control. */
export interface TestResource extends AsyncDisposable {
  readonly context: ProviderContext
  /** Starts what `provision` answered and waits until it is ready. */
  start(): Promise<void>
  /** The running server. */
  process(): HostProcess
  /** Stops it as declared. */
  stop(): Promise<void>
  /** Makes a grant for a consumer, without giving it. */
  grantFor(consumer: string): Grant
  /** What a consumer gets to dial the resource from this machine. */
  bind(grant: Grant): Promise<Binding>
}

/** Makes a resource of a provider on a host. `number` is unique on the host. */
export async function makeTestResource(
  host: TestHost,
  subject: Pick<ProviderSubject, 'provider' | 'config' | 'filesDir'>,
  number: number,
): Promise<TestResource> {
  const { provider, config, filesDir } = subject
  const [dataDir, socketDir] = [join(host.dir, `${number}-data`), join(host.dir, `${number}-s`)]
  await host.makeDir(dataDir)
  await host.makeDir(socketDir)
  let server: ProviderServer | null = null
  let running: HostProcess | null = null
  const context: ProviderContext = {
    app: `shop-${number}`,
    name: 'db',
    config,
    dataDir,
    socketDir,
    adminPassword: randomPassword(systemRandom),
    filesDir,
    run: (program) => host.run(program),
    serve: (second) => Promise.resolve(runningServer(host.start(second), second)),
    serverOutput: () => Promise.resolve(running?.output() ?? ''),
    clock: systemClock,
    random: systemRandom,
  }
  const forwarder = await startForwarder(() => server?.socketPath ?? null)
  return {
    context,
    async start() {
      server = await provider.provision(context)
      if (server !== null) running = host.start(server)
      await provider.ready(context, readyTimeoutMs)
    },
    process() {
      assert.ok(running !== null, 'the server was not started')
      return running
    },
    async stop() {
      if (running !== null && server !== null) await runningServer(running, server)[Symbol.asyncDispose]()
    },
    grantFor: (consumer) => ({ consumer, user: `${context.app}-${consumer}`, password: randomPassword(systemRandom) }),
    bind: (grant) => Promise.resolve(provider.bind(context, grant, forwarder.target)),
    async [Symbol.asyncDispose]() {
      await forwarder[Symbol.asyncDispose]()
      await running?.kill()
    },
  }
}

function runningServer(started: HostProcess, server: ProviderServer): RunningServer {
  return {
    exited: started.ended,
    async [Symbol.asyncDispose]() {
      started.signal(server.stopSignal)
      using _timer = systemClock.after(server.stopTimeoutMs, () => void started.kill())
      await started.ended
    },
  }
}

/** Leads connections of a port on loopback to a Unix socket, as an edge does. */
async function startForwarder(
  socketPath: () => string | null,
): Promise<AsyncDisposable & { readonly target: BindTarget }> {
  const open = new Set<Socket>()
  const track = (socket: Socket): void => {
    open.add(socket)
    socket.on('error', () => undefined).once('close', () => open.delete(socket))
  }
  const listener = createServer((client) => {
    const path = socketPath()
    if (path === null) return void client.destroy()
    const server = createConnection(path)
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      track(from)
      from.pipe(to)
      from.once('close', () => to.destroy())
    }
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const { port } = listener.address() as AddressInfo
  return {
    target: { host: '127.0.0.1', address: '127.0.0.1', port },
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy()
      await new Promise((resolve) => listener.close(resolve))
    },
  }
}

/** What a case works with. */
export interface World {
  readonly host: TestHost
  readonly subject: ProviderSubject
  readonly provider: Provider
  /** A fresh resource, not started. */
  resource(): Promise<TestResource>
}

/**
 * Registers the suite for a provider. `make` is called once, with the host that all cases share. A case that a provider
 * cannot pass is skipped with the reason given.
 */
export function providerConformance(
  name: string,
  make: (host: TestHost) => Promise<ProviderSubject>,
  skips: Partial<Record<ProviderCase, string>> = {},
): void {
  suite(`provider ${name}`, () => {
    const shared: { world?: World & AsyncDisposable } = {}
    before(async () => {
      const host = await makeTestHost()
      const subject = await make(host)
      let number = 0
      shared.world = {
        host,
        subject,
        provider: subject.provider,
        resource: () => makeTestResource(host, subject, number++),
        [Symbol.asyncDispose]: () => host[Symbol.asyncDispose](),
      }
    })
    after(() => shared.world?.[Symbol.asyncDispose]())
    const needsProc = process.platform === 'linux' ? false : 'needs Linux: processes are found under /proc'
    for (const [key, { title, body }] of Object.entries(cases)) {
      test(title, { skip: skips[key as ProviderCase] ?? needsProc }, async (t) => {
        assert.ok(shared.world !== undefined)
        if (key !== 'steps' && shared.world.subject.connect === null) return t.skip('nothing is dialled')
        await body(shared.world)
      })
    }
  })
}
