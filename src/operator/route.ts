/** What an operation over HTTP is made of. */
import type { Right } from './caller.ts'
import type { RemoteStream } from '../protocol/index.ts'
import type { Operations, StreamOrder } from './operations.ts'

/** A question, taken apart. */
export interface Question {
  /** Values of the names in the path. */
  readonly path: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  /** The body as JSON; null when there is none. Throws `operator.bad-request`. */
  readonly body: () => Promise<unknown>
  /** Aborts when the asker goes away. */
  readonly signal: AbortSignal
  /** Who asks, by name. */
  readonly caller: string
}

/** Answers with one JSON value, with one a line for as long as there are any, or with a stream of bytes both ways. */
export type Answer =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'lines'; readonly lines: AsyncIterable<unknown> }
  /** Only for a request that asks for an upgrade. */
  | { readonly kind: 'stream'; readonly open: (order: StreamOrder) => RemoteStream }

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** `:name` takes one segment. */
  readonly path: string
  readonly right: Right
  answer(operations: Operations, question: Question): Promise<Answer> | Answer
}
