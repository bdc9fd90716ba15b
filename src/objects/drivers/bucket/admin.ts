/**
 * How the platform speaks with the server of a bucket: JSON over HTTP on a Unix socket of its own, in a directory that is open
 * to the server's user and the platform alone. Both ends of it. Every question can be asked again.
 */
import { createServer, request } from 'node:http'
import { rmSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { join } from 'node:path'
import { messageOf } from '../../../base/index.ts'
import { failure } from '../../errors.ts'
import type { KeyGrant } from '../../bucket/keys.ts'
import type { Happened, Held } from '../embedded/usage.ts'
import type { Upstream } from './upstream.ts'

const bodyBytesMax = 64 * 1024
const answerBytesMax = 1024 * 1024
const timeoutMs = 30_000

/** What the platform asks, by name: what is sent, and what is answered. */
export interface Questions {
  /** Whether it takes requests. */
  readonly ready: { readonly sent: null; readonly answered: null }
  /** Where the store is that somebody else runs, and the key to it. Asked of a front alone. */
  readonly attach: { readonly sent: Upstream; readonly answered: null }
  readonly grant: { readonly sent: KeyGrant; readonly answered: null }
  readonly revoke: { readonly sent: { readonly user: string }; readonly answered: null }
  /** The data has come back from an earlier state: what is handed out from now on is of this generation. */
  readonly advance: { readonly sent: { readonly generation: number }; readonly answered: null }
  readonly state: { readonly sent: null; readonly answered: BucketState }
}

/** How a bucket stands. */
export interface BucketState {
  readonly held: Held
  readonly happened: Happened
  /** When this server began to count, milliseconds since 1970. */
  readonly startedMs: number
  readonly generation: number
  readonly connections: number
  readonly requests: Requests
}

/** What the server has answered since it started. */
export interface Requests {
  /** GET and HEAD. */
  readonly read: number
  /** PUT, POST and DELETE. */
  readonly written: number
  /** Refused, or not as they should be: a status of 400 to 499, but for 404 and 412. */
  readonly refused: number
  /** The fault of the server: 500 and more. */
  readonly failed: number
  readonly bytesIn: number
  readonly bytesOut: number
}

/** What answers each of them. */
export type Answers = {
  readonly [Name in keyof Questions]: (
    sent: Questions[Name]['sent'],
  ) => Questions[Name]['answered'] | Promise<Questions[Name]['answered']>
}

/** Path of the socket for the platform, beside that for consumers. */
export function adminPath(socketDir: string): string {
  return join(socketDir, 'admin')
}

/** Path of the socket for consumers. */
export function consumersPath(socketDir: string): string {
  return join(socketDir, 's3')
}

/** Answers the platform until it is closed. */
export async function listenToPlatform(path: string, answers: Answers): Promise<AsyncDisposable> {
  const server = createServer((asked, response) => {
    const name = (asked.url ?? '').slice(1)
    const answer = async (): Promise<unknown> => {
      let body = ''
      for await (const piece of asked.setEncoding('utf8')) {
        body += String(piece)
        if (body.length > bodyBytesMax) throw new Error('the question is too long')
      }
      return await answerTo(answers, name, body)
    }
    answer().then(
      (value) => response.end(JSON.stringify(value)),
      (error: unknown) => response.writeHead(400).end(JSON.stringify(messageOf(error))),
    )
  })
  rmSync(path, { force: true })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve))
  return {
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
    },
  }
}

/** Who reaches this socket is the platform, and of the same release. */
async function answerTo(answers: Answers, name: string, body: string): Promise<unknown> {
  switch (name) {
    case 'ready':
      return await answers.ready(null)
    case 'state':
      return await answers.state(null)
    case 'attach': {
      const sent: Questions['attach']['sent'] = JSON.parse(body)
      return await answers.attach(sent)
    }
    case 'grant': {
      const sent: Questions['grant']['sent'] = JSON.parse(body)
      return await answers.grant(sent)
    }
    case 'revoke': {
      const sent: Questions['revoke']['sent'] = JSON.parse(body)
      return await answers.revoke(sent)
    }
    case 'advance': {
      const sent: Questions['advance']['sent'] = JSON.parse(body)
      return await answers.advance(sent)
    }
    default:
      throw new Error(`${name} is not asked here`)
  }
}

/** Asks the server of a bucket. Throws `objects.unavailable`. */
export async function askServer<Name extends keyof Questions>(
  about: { readonly name: string; readonly socketDir: string },
  question: Name,
  sent: Questions[Name]['sent'],
): Promise<Questions[Name]['answered']> {
  const fail = (message: string, cause?: unknown): Error =>
    failure('unavailable', `bucket ${about.name}: ${message}`, 'See what its server says: `stead logs`.', cause)
  try {
    const [status, body] = await new Promise<[number, string]>((resolve, reject) => {
      const asking = request({
        socketPath: adminPath(about.socketDir),
        path: `/${question}`,
        method: 'POST',
        agent: false,
        timeout: timeoutMs,
      })
      asking.on('error', reject)
      asking.on('timeout', () => asking.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)))
      asking.on('response', (answer) => {
        text(answer).then((whole) => resolve([answer.statusCode ?? 0, whole]), reject)
      })
      asking.end(JSON.stringify(sent))
    })
    if (body.length > answerBytesMax) throw new Error('the answer is too long')
    if (status !== 200) throw new Error(String(JSON.parse(body)))
    const answered: Questions[Name]['answered'] = JSON.parse(body)
    return answered
  } catch (error) {
    throw fail(`its server does not answer: ${messageOf(error)}`, error)
  }
}
