/**
 * The ports of routes for plain TCP: opened and closed as the table says. A port that cannot be had does not hold up the
 * table: it is said once, and tried again until it is free or no longer wanted.
 */
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { messageOf } from '../base/index.ts'
import type { Core } from './core.ts'
import { listenError } from './listen-error.ts'

const retryMs = 500

export interface StreamPortsOptions {
  readonly host: string
  readonly onConnection: (port: number, socket: Socket) => void
  readonly onNotice: (text: string) => void
}

interface Door {
  readonly server: Server
  retry: Disposable | null
  said: boolean
}

export class StreamPorts {
  readonly #core: Core
  readonly #options: StreamPortsOptions
  readonly #doors = new Map<number, Door>()

  constructor(core: Core, options: StreamPortsOptions) {
    this.#core = core
    this.#options = options
  }

  /** Listens on these ports and no others. Connections of a port that is closed go on. */
  set(ports: ReadonlySet<number>): void {
    for (const [port, door] of this.#doors) {
      if (ports.has(port)) continue
      this.#doors.delete(port)
      door.retry?.[Symbol.dispose]()
      door.server.close()
    }
    for (const port of ports) if (!this.#doors.has(port)) this.#open(port)
  }

  #open(port: number): void {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) =>
      this.#options.onConnection(port, socket),
    )
    server.maxConnections = this.#core.limits.tunnelsMax
    const door: Door = { server, retry: null, said: false }
    this.#doors.set(port, door)
    server.on('error', (error) => void this.#failed(port, door, error))
    server.listen(port, this.#options.host)
  }

  async #failed(port: number, door: Door, error: Error): Promise<void> {
    const { host, onNotice } = this.#options
    const reason = await listenError(error, host, port)
    if (this.#doors.get(port) !== door) return
    if (!door.said) onNotice(`a route waits for its port: ${messageOf(reason)}`)
    door.said = true
    door.retry = this.#core.clock.after(retryMs, () => door.server.listen(port, host))
  }
}
