/**
 * Our side of a conversation with a debug adapter: requests, answers, events.
 *
 * Invariants: every request settles, at the latest with its time or with the connection; what an adapter asks of us (to run
 * something in a terminal) is refused.
 */
import type { Readable, Writable } from 'node:stream'
import { type Clock, messageOf } from '../../base/index.ts'
import { connectionLost, didNotAnswer, targetSays } from '../refusals.ts'
import { Requests } from '../requests.ts'
import { DapDecoder, encodeDap } from './codec.ts'
import { type Arguments, textIn } from './peer.ts'

/** Both directions of a conversation; one socket may be both. */
export interface AdapterStreams {
  readonly from: Readable
  readonly to: Writable
}

/** After these the program runs until it is said to have stopped. */
const moving = new Set(['continue', 'next', 'stepIn', 'stepOut'])
/** Longest wait for an answer, unless another is named. */
const answerMs = 30_000

export class DapSession {
  /** Settles when the connection has ended, with the reason. */
  readonly lost: Promise<string>
  readonly #to: Writable
  readonly #clock: Clock
  readonly #requests: Requests<string, Arguments>
  readonly #listeners = new Set<(event: string, body: Arguments) => void>()
  /** Files that have breakpoints. */
  readonly #sources = new Set<string>()
  #runs = true
  #sequence = 0

  constructor({ from, to }: AdapterStreams, clock: Clock) {
    this.#to = to
    this.#clock = clock
    this.#requests = new Requests(clock, (command) => `the debugger, asked for '${command}',`)
    this.lost = this.#requests.lost
    const decoder = new DapDecoder()
    from.on('data', (piece: Uint8Array) => {
      try {
        for (const message of decoder.push(piece)) this.#hear(message)
      } catch (error) {
        this.#requests.end(messageOf(error))
      }
    })
    for (const stream of new Set([from, to])) stream.on('error', (error) => this.#requests.end(messageOf(error)))
    from.on('close', () => this.#requests.end('the adapter closed it'))
    from.on('end', () => this.#requests.end('the adapter closed it'))
  }

  /** Whether the program runs, as far as the adapter has said. */
  get runs(): boolean {
    return this.#runs
  }

  /** Takes out every breakpoint that was put in by this session. What cannot be taken out is left to the adapter. */
  async clearBreakpoints(timeoutMs: number): Promise<void> {
    for (const path of this.#sources) {
      const source = { path, name: path.slice(path.lastIndexOf('/') + 1) }
      await this.request('setBreakpoints', { source, breakpoints: [], lines: [] }, timeoutMs).catch(() => undefined)
    }
    this.#sources.clear()
  }

  /** The body of the answer. Throws `debug.target-refused`, `debug.no-answer`, `debug.lost`. */
  request(command: string, args: Arguments = {}, timeoutMs: number = answerMs): Promise<Arguments> {
    if (this.#requests.ended !== null) return Promise.reject(connectionLost(this.#requests.ended))
    const { path } = objectOf(args['source'])
    if (command === 'setBreakpoints' && typeof path === 'string') this.#sources.add(path)
    if (moving.has(command)) this.#runs = true
    const seq = ++this.#sequence
    const answer = this.#requests.wait(seq, command, timeoutMs)
    this.#to.write(encodeDap({ seq, type: 'request', command, arguments: args }))
    return answer
  }

  /** Hears every event from now on. */
  on(listener: (event: string, body: Arguments) => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }

  /** The body of the next event of that name. Throws `debug.no-answer`, `debug.lost`. */
  async event(name: string, timeoutMs: number = answerMs): Promise<Arguments> {
    const { promise, resolve, reject } = Promise.withResolvers<Arguments>()
    using _listening = this.on((event, body) => (event === name ? resolve(body) : undefined))
    using _timer = this.#clock.after(timeoutMs, () => reject(didNotAnswer(`the debugger's '${name}'`, timeoutMs)))
    void this.lost.then((why) => reject(connectionLost(why)))
    return await promise
  }

  #hear(message: Arguments): void {
    switch (message['type']) {
      case 'response':
        return this.#answered(message)
      case 'event': {
        const body = objectOf(message['body'])
        const { event } = message
        if (event === 'stopped' || event === 'continued') this.#runs = event === 'continued'
        for (const listener of this.#listeners) listener(String(message['event']), body)
        return
      }
      case 'request': {
        const head = { seq: ++this.#sequence, type: 'response', request_seq: message['seq'] }
        this.#to.write(encodeDap({ ...head, command: message['command'], success: false, message: 'not here' }))
      }
    }
  }

  #answered(message: Arguments): void {
    this.#requests.answered(Number(message['request_seq']), (command) => {
      const body = objectOf(message['body'])
      if (message['success'] === true) return body
      throw targetSays(command, sentenceOf(body, textIn(message, 'message') || 'refused'))
    })
  }
}

/** What a refusal says: adapters put it into a template with variables, or into the message. */
function sentenceOf(body: Arguments, message: string): string {
  const { format, variables } = objectOf(body['error'])
  if (typeof format !== 'string' || format === '') return message
  const values = objectOf(variables)
  return format.replaceAll(/\{(\w+)\}/g, (whole, name: string) => textIn(values, name) || whole)
}

function objectOf(value: unknown): Arguments {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}
