/**
 * The way from other nodes to the parts on this one: for each part that serves, a TCP listener at the node's address, whose
 * streams go to wherever the part listens now. The streams are not encrypted yet.
 *
 * Invariant: a port that was given to an assignment stays its own over restarts of the agent, as long as no other program
 * takes it: whoever still holds it while control is away reaches the same part, or nothing.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { Server } from 'node:net'
import { join } from 'node:path'
import { messageOf, sleep, systemCodeOf } from '../base/index.ts'
import { createHostDriver, type Endpoint, type Forwarder, openForwarder, type Place } from '../network/index.ts'
import type { AgentOptions } from './options.ts'

/** Between two tries to listen. */
const retryMs = 5000

interface Way {
  readonly stop: AbortController
  forwarder: Forwarder | null
  opened: Promise<void>
}

export class Exposures implements AsyncDisposable {
  readonly #options: Pick<AgentOptions, 'network' | 'clock' | 'onNotice'>
  readonly #address: string
  readonly #portsDir: string
  readonly #changed: () => void
  readonly #ways = new Map<string, Way>()

  /** `address` is the node's own; `changed` is called when a way has been opened. */
  constructor(
    options: Pick<AgentOptions, 'network' | 'clock' | 'onNotice' | 'stateDir'>,
    address: string,
    changed: () => void,
  ) {
    this.#options = options
    this.#address = address
    this.#portsDir = join(options.stateDir, 'ports')
    this.#changed = changed
    mkdirSync(this.#portsDir, { recursive: true, mode: 0o700 })
  }

  /** Opens a way to an assignment, unless there is one. `local` says where it listens on this node; null refuses. */
  open(id: string, local: () => Endpoint | null): void {
    if (this.#ways.has(id)) return
    const way: Way = { stop: new AbortController(), forwarder: null, opened: Promise.resolve() }
    this.#ways.set(id, way)
    way.opened = this.#listen(id, way, local)
  }

  /** Where other nodes reach an assignment; null while they cannot. */
  endpoint(id: string): Endpoint | null {
    const forwarder = this.#ways.get(id)?.forwarder ?? null
    return forwarder === null ? null : { kind: 'tcp', host: this.#address, port: forwarder.port }
  }

  /** Closes the way to an assignment that is gone for good, with the streams on it, and gives its port back. */
  async remove(id: string): Promise<void> {
    const way = this.#ways.get(id)
    this.#ways.delete(id)
    if (way !== undefined) await close(way)
    rmSync(join(this.#portsDir, id), { force: true })
  }

  /** Gives back the ports of assignments that are gone. */
  sweep(): void {
    for (const id of readdirSync(this.#portsDir)) if (!this.#ways.has(id)) rmSync(join(this.#portsDir, id))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#ways.values()].map(close))
  }

  async #listen(id: string, way: Way, local: () => Endpoint | null): Promise<void> {
    const { network, clock, onNotice } = this.#options
    const place = await nodePlace()
    const targets = (): { id: string; endpoint: Endpoint }[] => {
      const endpoint = local()
      return endpoint === null ? [] : [{ id, endpoint }]
    }
    let port = this.#keptPort(id)
    while (!way.stop.signal.aborted) {
      try {
        way.forwarder = await openForwarder({ network, place, address: this.#address, port, targets })
        writeFileSync(join(this.#portsDir, id), String(way.forwarder.port))
        return this.#changed()
      } catch (error) {
        if (port === 0 || systemCodeOf(error) !== 'EADDRINUSE') {
          onNotice(`${id} cannot be reached from other nodes: ${messageOf(error)}`)
          await sleep(clock, retryMs, way.stop.signal).catch(() => {})
        }
        port = 0
      }
    }
  }

  /** The port it had; 0 when it had none. */
  #keptPort(id: string): number {
    try {
      const port = Number(readFileSync(join(this.#portsDir, id), 'utf8'))
      return Number.isInteger(port) && port > 0 && port < 65_536 ? port : 0
    } catch {
      return 0
    }
  }
}

async function close(way: Way): Promise<void> {
  way.stop.abort(new Error('closed'))
  await way.opened
  await way.forwarder?.[Symbol.asyncDispose]()
}

/** The node's own network as a place to listen in, at the address that is asked for. */
async function nodePlace(): Promise<Place> {
  const host = await createHostDriver('the way in from other nodes').place('node')
  return { ...host, listen }
}

async function listen(address: string, port: number, server: Server): Promise<{ address: string; port: number }> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: address, port }, () => {
      server.off('error', reject)
      resolve()
    })
  })
  const bound = server.address()
  return { address, port: typeof bound === 'object' && bound !== null ? bound.port : port }
}
