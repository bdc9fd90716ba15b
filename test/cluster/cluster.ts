/** A cluster for tests: control and agents as processes of their own, in networks of their own, told what to do by lines. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { ClusterNetwork } from './network.ts'
import type { NodeConfig } from './node.ts'
import { processesNaming, programsOf, removeGroups } from './programs.ts'

const controlPort = 7700
const answerMs = 30_000

/** A process of the cluster. */
export interface Member {
  readonly child: ChildProcess
  /** What it had to say to a person. */
  readonly notices: string[]
  /** Asks it something and gives its answer. */
  ask<T>(command: string, more?: Readonly<Record<string, unknown>>): Promise<T>
  /** Ends it and waits for its end; answers its exit code. */
  end(signal: NodeJS.Signals): Promise<number | null>
}

export class Cluster implements AsyncDisposable {
  readonly dir: string
  readonly app: string
  readonly network: ClusterNetwork
  readonly #nodes: readonly string[]
  readonly #keys: Readonly<Record<string, string>>
  readonly #members = new Set<Member>()

  constructor(nodes: readonly string[]) {
    this.#nodes = nodes
    this.#keys = Object.fromEntries(nodes.map((node) => [node, randomBytes(32).toString('hex')]))
    this.app = `c${process.pid}`
    this.dir = mkdtempSync(join(tmpdir(), 'st-'))
    // Workloads run as other users and must be able to pass through.
    chmodSync(this.dir, 0o711)
    this.network = new ClusterNetwork(nodes)
  }

  /** The code of the app in a version, as a directory. */
  code(version: string): string {
    const directory = join(this.dir, `code-${version}`)
    cpSync(join(import.meta.dirname, 'part'), directory, { recursive: true })
    writeFileSync(join(directory, 'version'), version)
    return directory
  }

  /** Starts control on a state directory; resolves when it holds the lease and listens. */
  control(name: string, state = 'control'): Promise<Member> {
    return this.#start('hub', { role: 'control', name, dir: this.stateOf(state) })
  }

  /** Starts the agent of a node. */
  agent(name: string): Promise<Member> {
    return this.#start(name, { role: 'agent', name, dir: this.stateOf(name) })
  }

  stateOf(name: string): string {
    return join(this.dir, name)
  }

  /** Whether a node has a bundle. */
  has(name: string, digest: string): boolean {
    return existsSync(join(this.stateOf(name), 'bundles', 'trees', digest))
  }

  async #start(network: string, more: Pick<NodeConfig, 'role' | 'name' | 'dir'>): Promise<Member> {
    mkdirSync(more.dir, { recursive: true, mode: 0o711 })
    const config: NodeConfig = {
      ...more,
      host: this.network.hub,
      port: controlPort,
      keys: this.#keys,
      advertise: this.#nodes.includes(network) ? this.network.addressOf(network) : '',
      group: this.#group(more.name),
    }
    const [command = '', ...args] = this.network.inside(network)
    const program = [process.execPath, '--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'node.ts')]
    const child = spawn(command, [...args, ...program, JSON.stringify(config)], { stdio: ['pipe', 'pipe', 'pipe'] })
    const { member, ready } = follow(child, more.name)
    this.#members.add(member)
    await ready
    return member
  }

  #group(name: string): string {
    return `stead-${this.app}-${name}`
  }

  /** Ends what is left, of the cluster and of its app, and takes everything away. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const member of this.#members) await member.end('SIGKILL')
    for (let round = 0; round < 100; round += 1) {
      const left = [...programsOf(this.app), ...processesNaming(this.dir)]
      if (left.length === 0) break
      for (const { pid } of left) kill(pid)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    this.network[Symbol.dispose]()
    for (const name of this.#nodes) removeGroups(this.#group(name))
    rmSync(this.dir, { recursive: true, force: true })
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}

function follow(child: ChildProcess, name: string): { member: Member; ready: Promise<void> } {
  assert.ok(child.stdout !== null && child.stderr !== null && child.stdin !== null)
  const { stdin } = child
  const notices: string[] = []
  const ready = Promise.withResolvers<void>()
  const asked = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>()
  let errors = ''
  let ids = 0
  const closed = once(child, 'close')
  child.stderr.on('data', (chunk: Buffer) => (errors = `${errors}${String(chunk)}`.slice(-4000)))
  stdin.on('error', () => {})
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line = JSON.parse(text) as { id?: number; value?: never; error?: string; notice?: string; ready?: true }
    if (line.ready === true) ready.resolve()
    if (line.notice !== undefined) notices.push(line.notice)
    const one = asked.get(line.id ?? -1)
    if (line.error === undefined) one?.resolve(line.value as never)
    else one?.reject(new Error(`${name}: ${line.error}`))
  })
  void closed.then(() => {
    const end = new Error(`${name} has ended: ${errors}`)
    ready.reject(end)
    for (const { reject } of asked.values()) reject(end)
  })
  const member: Member = {
    child,
    notices,
    async ask<T>(command: string, more: Readonly<Record<string, unknown>> = {}) {
      const id = (ids += 1)
      const { promise, resolve, reject } = Promise.withResolvers<T>()
      asked.set(id, { resolve, reject })
      const timer = setTimeout(() => reject(new Error(`${name} does not answer ${command}: ${errors}`)), answerMs)
      stdin.write(`${JSON.stringify({ id, command, ...more })}\n`)
      return promise.finally(() => {
        clearTimeout(timer)
        asked.delete(id)
      })
    },
    async end(signal) {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal)
      await closed
      return child.exitCode
    },
  }
  return { member, ready: ready.promise }
}
