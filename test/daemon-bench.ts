/** A daemon for tests: the real `stead serve` with state of its own, load on its way in, and nothing left behind. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { eventually, freePort, type Running, Workbench, type WorkbenchOptions } from './command-line.ts'

export type Role = 'supervisor' | 'control' | 'agent' | 'gateway'

export interface PartSeen {
  readonly part: string
  readonly instance: string | null
  readonly phase: string
  readonly pid: number | null
  readonly restarts: number
  readonly current: boolean
  readonly reason: string | null
}

export class DaemonBench implements AsyncDisposable {
  readonly bench: Workbench
  readonly port: number
  readonly #apps = new Set<string>()
  readonly #more: readonly string[]
  #serve: Running | null = null

  private constructor(port: number, options: WorkbenchOptions, more: readonly string[]) {
    this.port = port
    this.bench = new Workbench(options)
    this.#more = more
  }

  /** `more`: further words for `stead serve`. */
  static async start(options: WorkbenchOptions = {}, more: readonly string[] = []): Promise<DaemonBench> {
    const daemon = new DaemonBench(await freePort(), options, more)
    try {
      await daemon.serve()
    } catch (error) {
      // Nobody else knows of it.
      await daemon.bench[Symbol.asyncDispose]().catch(() => null)
      throw error
    }
    return daemon
  }

  /** Starts `stead serve` and waits until it answers with one of these codes: 4 is that of a daemon with an app that is not well. */
  async serve(codes: readonly number[] = [0]): Promise<Running> {
    const running = this.bench.start('serve', '--host', '127.0.0.1', '--port', String(this.port), ...this.#more)
    this.#serve = running
    const up = async (): Promise<boolean> =>
      codes.includes((await this.bench.stead('status', '--all')).code) &&
      (await this.answer('nobody.localhost')) !== null
    try {
      await eventually('stead serve answers', up, (answers) => answers, 90_000)
    } catch (error) {
      const status = await this.bench.stead('status', '--all')
      const said = `${running.output().slice(-4000)}${status.stdout}${status.stderr}`
      throw new Error(`it does not answer; it says: ${said}`, { cause: error })
    }
    return running
  }

  /** What `stead serve` has printed. */
  output(): string {
    return this.#serve?.output() ?? ''
  }

  /** An app that another command brings: it is taken away at the end like those that were deployed. */
  adopt(app: string): void {
    this.#apps.add(app)
  }

  /** Deploys what lies in the app's directory. */
  async deploy(app: string): Promise<void> {
    this.#apps.add(app)
    const result = await this.bench.stead('deploy', '.', '--watch', '0')
    assert.equal(result.code, 0, result.stderr)
  }

  /** The process that has a role now. */
  pidOf(role: Role): number {
    const path = join(this.bench.env['STEAD_RUN'] ?? '', 'serve', 'claims', `${role}.json`)
    const { pid } = JSON.parse(readFileSync(path, 'utf8')) as { pid: number }
    return pid
  }

  /** Kills the process of a role, and waits until another has it; `again` is what starts it where the supervisor does not. */
  async kill(role: Role, again?: () => Promise<unknown>): Promise<void> {
    const before = this.pidOf(role)
    process.kill(before, 'SIGKILL')
    await again?.()
    const now = async (): Promise<number> => {
      try {
        return this.pidOf(role)
      } catch {
        return before
      }
    }
    await eventually(`another ${role}`, now, (pid) => pid !== before)
  }

  async parts(app: string): Promise<readonly PartSeen[]> {
    const { stdout } = await this.bench.stead('status', app, '--json')
    return stdout === '' ? [] : ((JSON.parse(stdout) as { parts?: PartSeen[] }).parts ?? [])
  }

  /** Waits until a part is ready, and answers it. */
  async ready(app: string, part: string): Promise<PartSeen> {
    const look = async (): Promise<PartSeen | undefined> =>
      (await this.parts(app)).find((seen) => seen.part === part && seen.phase === 'ready' && seen.current)
    const found = await eventually(`${part} of ${app} is ready`, look, (seen) => seen !== undefined)
    assert.ok(found !== undefined)
    return found
  }

  /** One request; null when it was refused or cut. */
  answer(host: string, path = '/', agent: Agent | false = false): Promise<number | null> {
    return new Promise((resolve) => {
      const question = request({ host: '127.0.0.1', port: this.port, path, agent, headers: { host } })
      question.setTimeout(20_000, () => question.destroy(new Error('no answer')))
      question.on('error', () => resolve(null))
      question.on('response', (response) => {
        response.resume()
        response.on('error', () => resolve(null))
        response.on('end', () => resolve(response.statusCode ?? null))
      })
      question.end()
    })
  }

  /** Keeps asking, one after another on connections of their own, until told to stop; answers what came back, with how often. */
  load(host: string): { stop(): Promise<ReadonlyMap<string, number>> } {
    const seen = new Map<string, number>()
    let going = true
    const ask = async (): Promise<void> => {
      while (going) {
        const status = await this.answer(host)
        seen.set(String(status), (seen.get(String(status)) ?? 0) + 1)
        await pause(2)
      }
    }
    const asking = [ask(), ask()]
    return {
      async stop() {
        going = false
        await Promise.all(asking)
        return seen
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#serve?.child.exitCode !== null) await this.serve().catch(() => null)
    for (const app of this.#apps) await this.bench.stead('down', app, '--delete-data')
    const pids = (['supervisor', 'control', 'agent', 'gateway'] as const).flatMap((role) => {
      try {
        return [this.pidOf(role)]
      } catch {
        return []
      }
    })
    await this.#serve?.stop('SIGTERM')
    await eventually(
      'all processes have ended',
      async () => pids.filter(isAlive),
      (left) => left.length === 0,
      90_000,
    )
    await this.bench[Symbol.asyncDispose]()
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
