/** A WebSocket of Pulsar: JSON goes in and out, in order. Once it has ended it tells so, once, and is not used again. */
import type { Clock } from '../../../base/index.ts'
import { failure } from '../../errors.ts'

export class PulsarSocket {
  readonly #socket: WebSocket
  readonly #place: string
  #onMessage: (message: unknown) => void = () => {}
  #onEnd: (error: Error) => void = () => {}
  #ended: Error | null = null

  /** Connects within `timeoutMs`. Throws `queue.unavailable`. */
  static open(
    url: string,
    headers: Readonly<Record<string, string>>,
    place: string,
    clock: Clock,
    timeoutMs: number,
  ): Promise<PulsarSocket> {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url, { headers })
      const late = clock.after(timeoutMs, () => socket.close())
      const refused = (): void => {
        late[Symbol.dispose]()
        const hint = 'See whether it runs, with webSocketServiceEnabled=true.'
        reject(failure('unavailable', `${place} opens no WebSocket`, hint))
      }
      socket.addEventListener('error', refused, { once: true })
      socket.addEventListener('close', refused, { once: true })
      socket.addEventListener(
        'open',
        () => {
          late[Symbol.dispose]()
          socket.removeEventListener('error', refused)
          socket.removeEventListener('close', refused)
          resolve(new PulsarSocket(socket, place))
        },
        { once: true },
      )
    })
  }

  private constructor(socket: WebSocket, place: string) {
    this.#socket = socket
    this.#place = place
    socket.addEventListener('message', ({ data }) => this.#onMessage(JSON.parse(String(data))))
    socket.addEventListener('error', () => this.end('the connection broke'))
    socket.addEventListener('close', ({ code, reason }) => this.end(`the connection was closed: ${code} ${reason}`))
  }

  /** What has ended it; null while it lives. */
  get ended(): Error | null {
    return this.#ended
  }

  listen(onMessage: (message: unknown) => void, onEnd: (error: Error) => void): void {
    this.#onMessage = onMessage
    this.#onEnd = onEnd
  }

  send(message: object): void {
    if (this.#ended === null) this.#socket.send(JSON.stringify(message))
  }

  end(why: string): void {
    if (this.#ended !== null) return
    this.#ended = failure('unavailable', `${this.#place}: ${why}`, 'See whether it runs.')
    this.#socket.close()
    this.#onEnd(this.#ended)
  }
}
