/** What a route is: how an operation is asked for over HTTP, and what it is given. */
import type { RemoteStream } from '../protocol/index.ts'
import { badRequest } from './bad-request.ts'
import type { Caller, Right } from './caller.ts'
import type { Gate } from './gate.ts'
import type { Operations, StreamOrder } from './operations.ts'

/** A question, taken apart. */
export interface Question {
  /** Values of the names in the path. */
  readonly path: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  /** The body as JSON; null when there is none. Throws `operator.bad-request`. */
  readonly body: () => Promise<unknown>
  /** The body as it comes, for what is too large to be held. */
  readonly stream: AsyncIterable<Uint8Array>
  /** Aborts when the asker goes away, or may no longer ask. */
  readonly signal: AbortSignal
  readonly caller: Caller
  /** Null: nobody but the owner can ask here. */
  readonly gate: Gate | null
}

/** Answers with one JSON value, with one a line for as long as there are any, or with a stream of bytes both ways. */
export type Answer =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'lines'; readonly lines: AsyncIterable<unknown> }
  /** Only for a request that asks for an upgrade. */
  | { readonly kind: 'stream'; readonly open: (order: StreamOrder) => RemoteStream | Promise<RemoteStream> }

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** `:name` takes one segment. Below `/v1/apps/:app` the right is needed on that app, elsewhere on the platform itself. */
  readonly path: string
  readonly right: Right
  /** Open to whoever is known: it answers only what the caller has the right to. */
  readonly filtered?: boolean
  /** `none`: a question though its method is not GET, or a step of a change that is recorded itself. */
  readonly recorded?: 'none'
  answer(operations: Operations, question: Question): Promise<Answer> | Answer
}

export function value(found: unknown): Answer {
  return { kind: 'value', value: found }
}

/** A number of the query; null when it is not given. Throws `operator.bad-request`. */
export function number(query: URLSearchParams, name: string): number | null {
  const text = query.get(name)
  if (text === null) return null
  const found = Number(text)
  if (!Number.isInteger(found) || found < 0) throw badRequest(`${name} must be a whole number, not ${text}`)
  return found
}
