/**
 * A client of a server of queues: one request at a time and place, JSON both ways. It never tries again, and says which of
 * two things a broken connection means: nothing was done (`queue.unavailable`), or nobody knows (`queue.outcome-unknown`).
 */
import { Agent, request } from 'node:http'
import type { RequestOptions } from 'node:http'
import { messageOf, systemCodeOf } from '../../../base/index.ts'
import { failure } from '../../errors.ts'
import { errorOfProblem } from './problem.ts'
import { isRecord } from './wire.ts'
import type { Wire } from './wire.ts'

/** Where a server answers, and as whom it is asked. */
export interface HttpPlace {
  readonly at: { readonly host: string; readonly port: number } | { readonly socketPath: string }
  /** Value of the header. */
  readonly authorization: string
  /** As a person would say it, without the password. */
  readonly shown: string
}

/** Connections of one client at one time. */
const waitingMax = 200
const workingMax = 8
/** Bytes of an answer. */
const answerBytesMax = 128 * 2 ** 20
/** How long a connection may be silent in the middle of a request, beyond what it was asked to wait. */
const silenceMs = 30_000

export class HttpClient {
  readonly shown: string
  readonly #place: HttpPlace
  /** Those who wait for messages have connections of their own, so that they never keep a settlement from going out. */
  readonly #waiting = new Agent({ keepAlive: true, maxSockets: waitingMax, maxFreeSockets: 16 })
  readonly #working = new Agent({ keepAlive: true, maxSockets: workingMax, maxFreeSockets: workingMax })

  constructor(place: HttpPlace) {
    this.shown = place.shown
    this.#place = place
  }

  /** What a request answers. `waitMs` is how long the server was asked to wait. Throws what the server told, as it was thrown. */
  async call(method: string, path: string, body?: unknown, waitMs = 0): Promise<Wire> {
    const { status, text } = await this.#exchange(method, path, body, waitMs)
    const answer = ((): unknown => {
      try {
        return JSON.parse(text)
      } catch {
        return null
      }
    })()
    if (status !== 200) throw errorOfProblem(status, answer)
    if (isRecord(answer)) return answer
    throw failure('outcome-unknown', `${this.shown} gave an answer that is no JSON`, 'See what stands between.')
  }

  close(): void {
    this.#waiting.destroy()
    this.#working.destroy()
  }

  #exchange(
    method: string,
    path: string,
    body: unknown,
    waitMs: number,
  ): Promise<{ readonly status: number; readonly text: string }> {
    const { promise, resolve, reject } = Promise.withResolvers<{ readonly status: number; readonly text: string }>()
    const text = body === undefined ? '' : JSON.stringify(body)
    const options: RequestOptions = {
      ...this.#place.at,
      method,
      path,
      agent: waitMs > 0 ? this.#waiting : this.#working,
      timeout: waitMs + silenceMs,
      headers: {
        authorization: this.#place.authorization,
        ...(text === '' ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
      },
    }
    const asked = request(options)
    /** Whether the server may have got it: a connection that was never made, or was gone before, has carried nothing. */
    let isSent = false
    asked.once('socket', (socket) => {
      if (!socket.connecting) isSent = true
      else socket.once('connect', () => (isSent = true))
    })
    const fail = (error: unknown): void => {
      const isStale = asked.reusedSocket && systemCodeOf(error) === 'ECONNRESET'
      const nothing = !isSent || (isStale && method === 'GET')
      const what = `${this.shown} ${isSent ? 'has broken off' : 'does not answer'}: ${messageOf(error)}`
      reject(failure(nothing ? 'unavailable' : 'outcome-unknown', what, 'See whether it runs; try again.', error))
    }
    asked.once('timeout', () => asked.destroy(new Error('it is silent')))
    asked.once('error', fail)
    asked.once('response', (response) => {
      const pieces: Buffer[] = []
      let bytes = 0
      response.on('data', (piece: Buffer) => {
        bytes += piece.length
        if (bytes > answerBytesMax) asked.destroy(new Error('the answer is too large'))
        else pieces.push(piece)
      })
      response.once('end', () => {
        if (response.complete)
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(pieces).toString('utf8') })
      })
      response.once('error', fail)
    })
    asked.end(text)
    return promise
  }
}
