/**
 * A node for tests of data: an agent as a process of its own, with a control that is played here, one PostgreSQL, and
 * instances that dial it.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Client } from 'pg'
import { createBundleStore } from '../../src/artifact/index.ts'
import { systemClock as clock } from '../../src/base/index.ts'
import { btrfsDriver, copyDriver } from '../../src/domain/index.ts'
import { edgeAddress } from '../../src/network/index.ts'
import {
  type Assignment,
  type AssignmentStatus,
  type Ask,
  type DataAnswers,
  type DataPlace,
  type DataTask,
  type Downward,
  type InstanceAssignment,
  type Plan,
  type ResourceAssignment,
  type Upward,
  upwardSchema,
} from '../../src/protocol/index.ts'
import { type Channel, listenForPeers } from '../../src/transport/index.ts'
import { processesNaming, removeGroups } from '../cluster/programs.ts'
import type { AgentConfig } from './agent.ts'

const waitMs = 60_000
const adminPassword = 'the-admin-of-all'
const grant = { consumer: 'web', user: 'web', password: 'let-me-in', version: 1 }
const uids = { db: 41_001, web: 41_002 }

/** Of the database of every app here. */
export const databaseConfig: { readonly version: string; readonly memoryBytes: number } = {
  version: '18',
  memoryBytes: 128 * 1024 * 1024,
}

/** A step that the agent has told of. */
export interface ToldStep {
  readonly step: string
  readonly atMs: number
}

export class DataNode implements AsyncDisposable {
  readonly dir: string
  readonly #config: AgentConfig
  readonly #statuses = new Map<string, AssignmentStatus>()
  readonly #answers = new Map<string, { lines: string[]; done: (error: string | null) => void }>()
  readonly steps: ToldStep[] = []
  readonly notices: string[] = []
  #peers: AsyncDisposable | null = null
  #channel: Channel<Downward> | null = null
  #child: ChildProcess | null = null
  #plan: Plan = { epoch: 1, revision: 0, assignments: [] }
  #asks = 0
  #bundle = ''

  private constructor(more: Pick<AgentConfig, 'domain' | 'domainBytes'>) {
    this.dir = mkdtempSync(join(tmpdir(), 'sd-'))
    // Workloads run as other users and must be able to pass through.
    chmodSync(this.dir, 0o711)
    this.#config = { ...more, dir: this.dir, group: `stead-data-${process.pid}` }
  }

  static async start(more: Partial<Pick<AgentConfig, 'domain' | 'domainBytes'>> = {}): Promise<DataNode> {
    const node = new DataNode({ domain: 'copy', domainBytes: 600e6, ...more })
    try {
      const bundles = await createBundleStore({ root: join(node.dir, 'bundles'), clock })
      const { runtime } = await bundles.resolveRuntime('python3')
      node.#bundle = (await bundles.make({ from: join(import.meta.dirname, 'part'), runtime })).digest
      node.#peers = await listenForPeers<Downward, Upward>(
        { kind: 'unix', path: join(node.dir, 'c') },
        { clock, schema: upwardSchema, keyOf: () => null },
        (channel) => {
          node.#channel = channel
          return (message) => node.#hear(channel, message)
        },
      )
      await node.begin()
      return node
    } catch (error) {
      await node[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Starts the agent; resolves when it has looked at what ran before. */
  async begin(): Promise<void> {
    const program = ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'agent.ts')]
    const child = spawn(process.execPath, [...program, JSON.stringify(this.#config)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    let errors = ''
    child.stderr.on('data', (chunk: Buffer) => (errors = `${errors}${String(chunk)}`.slice(-4000)))
    const ready = Promise.withResolvers<void>()
    createInterface({ input: child.stdout }).on('line', (text) => {
      const line = JSON.parse(text) as { ready?: true; notice?: string } & Partial<ToldStep>
      if (line.ready === true) ready.resolve()
      if (line.notice !== undefined) this.notices.push(line.notice)
      if (line.step !== undefined) this.steps.push({ step: line.step, atMs: line.atMs ?? 0 })
    })
    child.once('close', () => ready.reject(new Error(`the agent has ended: ${errors}`)))
    await ready.promise
    ready.promise.catch(() => {})
  }

  /** What is to die, at which step; `slow`: nothing does, and the step takes five seconds. */
  doom(what: 'agent' | 'server' | 'slow', step: string): void {
    writeFileSync(join(this.dir, 'fate'), `${what} ${step}`)
  }

  /** From now on what is left behind cannot be asked. */
  mute(): void {
    writeFileSync(join(this.dir, 'mute'), '')
  }

  /** From now on servers are started as ones that do not wait for the disk, or as they should be. */
  careless(is: boolean): void {
    if (is) writeFileSync(join(this.dir, 'careless'), '')
    else rmSync(join(this.dir, 'careless'), { force: true })
  }

  /** From now on it takes a while until what is declared for a server has been looked at, or no longer. */
  slow(is: boolean): void {
    if (is) writeFileSync(join(this.dir, 'slow'), '')
    else rmSync(join(this.dir, 'slow'), { force: true })
  }

  /** Resolves when the agent has died, and forgets what it said. */
  async died(): Promise<void> {
    assert.ok(this.#child !== null)
    if (this.#child.exitCode === null && this.#child.signalCode === null)
      await once(this.#child, 'close', { signal: AbortSignal.timeout(waitMs) })
    this.#statuses.clear()
  }

  /** Ends the agent as an accident would. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL')
    await this.died()
  }

  #hear(channel: Channel<Downward>, message: Upward): void {
    if (message.type === 'hello') channel.send({ type: 'plan', plan: this.#plan })
    if (message.type === 'status') {
      if (message.full) this.#statuses.clear()
      for (const status of message.statuses) this.#statuses.set(status.id, status)
    }
    if (message.type !== 'answer') return
    const open = this.#answers.get(message.ask)
    open?.lines.push(...message.lines.map(({ text }) => text))
    if (message.done) open?.done(message.error)
  }

  /** Tells the agent its plan. */
  plan(...assignments: readonly Assignment[]): void {
    this.#plan = { epoch: 1, revision: this.#plan.revision + 1, assignments }
    this.#channel?.send({ type: 'plan', plan: this.#plan })
  }

  status(id: string): AssignmentStatus | undefined {
    return this.#statuses.get(id)
  }

  /** Waits until it holds of the status. */
  async until(id: string, what: string, holds: (status: AssignmentStatus) => boolean): Promise<AssignmentStatus> {
    for (const endMs = Date.now() + waitMs; ; await new Promise((resolve) => setTimeout(resolve, 5))) {
      const status = this.#statuses.get(id)
      if (status !== undefined && holds(status)) return status
      if (Date.now() > endMs) assert.fail(`${id} ${what}: not within ${waitMs} ms, but ${JSON.stringify(status)}`)
    }
  }

  /** What has happened, for the message of a test that fails. */
  story(): string {
    return JSON.stringify({ steps: this.steps.map(({ step }) => step).slice(-30), notices: this.notices.slice(-10) })
  }

  /** Waits until it is not told of any more. */
  async gone(id: string): Promise<void> {
    for (
      const endMs = Date.now() + waitMs;
      this.#statuses.has(id);
      await new Promise((resolve) => setTimeout(resolve, 5))
    )
      if (Date.now() > endMs) assert.fail(`${id} is still there: ${JSON.stringify(this.#statuses.get(id))}`)
  }

  /** Takes back what was asked under an id. */
  cancel(id: string): void {
    this.#channel?.send({ type: 'ask', id: `cancel-${id}`, ask: { kind: 'cancel', ask: id } })
  }

  /** What was asked will not be answered any more. */
  forget(): void {
    for (const { done } of this.#answers.values()) done('the agent has died')
    this.#answers.clear()
  }

  ready(id: string, generation: number): Promise<AssignmentStatus> {
    return this.until(id, `ready in generation ${generation}`, (status) => {
      return status.phase === 'ready' && status.settled === true && status.generation === generation
    })
  }

  /** Asks the agent something; answers its lines, or throws what it says. */
  async ask(ask: Ask, id = `ask-${(this.#asks += 1)}`): Promise<readonly string[]> {
    const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>()
    const lines: string[] = []
    this.#answers.set(id, {
      lines,
      done: (error) => (error === null ? resolve(lines) : reject(new Error(error))),
    })
    const timer = setTimeout(() => reject(new Error(`${JSON.stringify(ask)}: no answer`)), waitMs)
    this.#channel?.send({ type: 'ask', id, ask })
    return promise.finally(() => clearTimeout(timer))
  }

  async data<T extends DataTask['do']>(task: Extract<DataTask, { do: T }>, id?: string): Promise<DataAnswers[T]> {
    const [line = ''] = await this.ask({ kind: 'data', app: 'shop', task }, id)
    return JSON.parse(line) as DataAnswers[T]
  }

  /** The database of an app, on data. */
  database(data: DataPlace, app = 'shop', more: Partial<ResourceAssignment> = {}): ResourceAssignment {
    return {
      kind: 'resource',
      id: `${app}.db`,
      app,
      part: 'db',
      type: 'postgres',
      config: databaseConfig,
      hostUid: uids.db,
      adminPassword,
      grants: [grant],
      revoked: [],
      bundle: null,
      wanted: true,
      data,
      ...more,
    }
  }

  /** An instance that dials the database of its app. */
  worker(name: string, generation: number, app = 'shop', more: Partial<InstanceAssignment> = {}): InstanceAssignment {
    const config = databaseConfig
    return {
      kind: 'service',
      id: `${app}.web.${name}`,
      app,
      part: 'web',
      bundle: this.#bundle,
      run: ['python3', 'work.py'],
      env: {},
      limits: { memoryBytes: 64 * 1024 * 1024, cpuCores: 1, pidsMax: 32 },
      http: null,
      ready: { kind: 'started', timeoutMs: 30_000 },
      hostUid: uids.web,
      edges: [
        {
          as: 'db',
          part: 'db',
          type: 'postgres',
          config,
          address: edgeAddress(1),
          port: 5432,
          resource: `${app}.db`,
          grant,
          targets: [],
        },
      ],
      wanted: true,
      timeoutMs: null,
      onSecretChange: 'restart',
      generation,
      ...more,
    }
  }

  /** Waits until an instance has printed it. */
  async printing(id: string, text: string): Promise<void> {
    for (const endMs = Date.now() + waitMs; ; await new Promise((resolve) => setTimeout(resolve, 20))) {
      const lines = await this.printed(id)
      if (lines.includes(text)) return
      if (Date.now() > endMs) assert.fail(`${id} did not print ${text}: ${lines.join(' ')}`)
    }
  }

  /** The digest of a bundle of files that the node has. */
  async files(files: Readonly<Record<string, string>>): Promise<string> {
    const from = mkdtempSync(join(this.dir, 'files-'))
    for (const [name, text] of Object.entries(files)) writeFileSync(join(from, name), text)
    const bundles = await createBundleStore({ root: join(this.dir, 'bundles'), clock })
    return (await bundles.make({ from, runtime: null })).digest
  }

  /** What an instance has printed. */
  printed(id: string): Promise<readonly string[]> {
    return this.ask({ kind: 'logs', assignment: id, tail: null, follow: false })
  }

  /** Asks the database of an app, as its consumer or its administrator; numbers of the first column. */
  async sql(text: string, app = 'shop', as: 'web' | 'admin' = 'web'): Promise<readonly number[]> {
    const login = as === 'web' ? grant : { user: 'stead_admin', password: adminPassword }
    const client = new Client({ host: join(this.dir, 'r', `${app}.db`), ...login, database: 'shop' })
    client.on('error', () => undefined)
    try {
      await client.connect()
      const { rows } = await client.query<unknown[]>({ text, rowMode: 'array' })
      return rows.map(([first]) => Number(first))
    } finally {
      await client.end()
    }
  }

  /** Ends everything and takes it away. */
  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child
    if (child !== null && child.exitCode === null && child.signalCode === null) {
      this.plan()
      child.kill('SIGTERM')
      const closed = once(child, 'close')
      const late = setTimeout(() => child.kill('SIGKILL'), waitMs)
      await closed
      clearTimeout(late)
    }
    await this.#peers?.[Symbol.asyncDispose]()
    for (let round = 0; round < 100; round += 1) {
      const left = processesNaming(this.dir)
      if (left.length === 0) break
      for (const { pid } of left) {
        try {
          process.kill(pid, 'SIGKILL')
        } catch {
          // It has ended by itself.
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    const driver = this.#config.domain === 'btrfs' ? btrfsDriver({ clock }) : copyDriver({ clock })
    await driver.destroy(join(this.dir, 'agent', 'domains', 'shop'))
    removeGroups(this.#config.group)
    rmSync(this.dir, { recursive: true, force: true })
  }
}
