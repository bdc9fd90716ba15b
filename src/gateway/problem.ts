/**
 * What the gateway answers when no instance does, pure: a closed set of causes, each with its status, the hop that is to
 * blame, and what a person should know. Rendered as a page, as problem+json (RFC 9457) or as text, by what the client
 * accepts; from memory, with no script and no other file, so that it also works when nothing else does.
 */
import type { RouteHop } from '../protocol/index.ts'
import { wayOf } from './hops.ts'
import type { Way } from './hops.ts'
import { pageHeaders, renderPage } from './page.ts'

export const causeNames = [
  'bad-request',
  'not-allowed',
  'no-route',
  'misdirected',
  'no-instance',
  'starting',
  'deploying',
  'refused',
  'connect-timed-out',
  'timed-out',
  'reset',
  'bad-response',
  'overloaded',
  'too-large',
  'header-too-large',
  'client-timed-out',
] as const
export type Cause = (typeof causeNames)[number]

/** Where on the way the cause lies. */
export type Hop = 'you' | 'gateway' | 'part'

interface CauseFacts {
  readonly status: number
  readonly reason: string
  readonly hop: Hop
  readonly title: string
  readonly advice: string
  /** Seconds after which trying again makes sense. */
  readonly retryAfterS?: number
  /** The page asks again by itself. */
  readonly reload?: true
}

/** Every cause. `{part}` in a text becomes the part's name. */
export const causes: Readonly<Record<Cause, CauseFacts>> = {
  'bad-request': {
    status: 400,
    reason: 'Bad Request',
    hop: 'you',
    title: 'The request could not be understood.',
    advice: 'It breaks the rules of HTTP or can be read in two ways, so nothing was passed on.',
  },
  'not-allowed': {
    status: 405,
    reason: 'Method Not Allowed',
    hop: 'you',
    title: 'This is a way in to apps, not a proxy.',
    advice: 'CONNECT is not served.',
  },
  'no-route': {
    status: 404,
    reason: 'Not Found',
    hop: 'gateway',
    title: 'No app answers at this address.',
    advice: 'Check the host name and the path. If the app is yours, see whether it is deployed and public.',
  },
  misdirected: {
    status: 421,
    reason: 'Misdirected Request',
    hop: 'you',
    title: 'This connection was opened for another host.',
    advice: 'Nothing was passed on. Ask again on a connection of its own.',
  },
  'no-instance': {
    status: 503,
    reason: 'Service Unavailable',
    hop: 'part',
    title: 'No instance of {part} is ready.',
    advice: 'The app is known here, but nothing runs that could answer.',
    retryAfterS: 5,
  },
  starting: {
    status: 503,
    reason: 'Service Unavailable',
    hop: 'part',
    title: '{part} is starting.',
    advice: 'This page asks again by itself.',
    retryAfterS: 2,
    reload: true,
  },
  deploying: {
    status: 503,
    reason: 'Service Unavailable',
    hop: 'part',
    title: 'A new version of {part} is being put in place.',
    advice: 'This page asks again by itself.',
    retryAfterS: 2,
    reload: true,
  },
  refused: {
    status: 502,
    reason: 'Bad Gateway',
    hop: 'part',
    title: '{part} does not accept connections.',
    advice: 'Its instance runs, but nothing listens on the port it was to serve on.',
    retryAfterS: 2,
  },
  'connect-timed-out': {
    status: 504,
    reason: 'Gateway Timeout',
    hop: 'part',
    title: '{part} could not be reached in time.',
    advice: 'Its instance did not answer the attempt to connect.',
    retryAfterS: 5,
  },
  'timed-out': {
    status: 504,
    reason: 'Gateway Timeout',
    hop: 'part',
    title: '{part} took too long to answer.',
    advice: 'The request was passed on, and may have been carried out.',
  },
  reset: {
    status: 502,
    reason: 'Bad Gateway',
    hop: 'part',
    title: '{part} closed the connection without an answer.',
    advice: 'The request was passed on, and may have been carried out. The instance may have crashed.',
  },
  'bad-response': {
    status: 502,
    reason: 'Bad Gateway',
    hop: 'part',
    title: '{part} answered with something that is not HTTP.',
    advice: 'The answer could not be passed on.',
  },
  overloaded: {
    status: 503,
    reason: 'Service Unavailable',
    hop: 'gateway',
    title: 'There are more requests than {part} can take now.',
    advice: 'Nothing was passed on. Try again in a moment.',
    retryAfterS: 1,
  },
  'too-large': {
    status: 413,
    reason: 'Content Too Large',
    hop: 'you',
    title: 'The request is larger than {part} accepts.',
    advice: 'Send less, or raise the limit of the route.',
  },
  'header-too-large': {
    status: 431,
    reason: 'Request Header Fields Too Large',
    hop: 'you',
    title: 'The headers of the request are too large.',
    advice: 'Often these are cookies: clear those of this site.',
  },
  'client-timed-out': {
    status: 408,
    reason: 'Request Timeout',
    hop: 'you',
    title: 'The request did not arrive in time.',
    advice: 'The connection stalled before the request was whole.',
  },
}

/** One failed request, for `renderProblem`. */
export interface Problem {
  readonly cause: Cause
  /** Names the request in logs. */
  readonly requestId: string
  /** Names it in traces; the request id when it is not said. */
  readonly traceId?: string
  /** Empty when no route took the request. */
  readonly app: string
  readonly part: string
  /** One more sentence, about this case. */
  readonly detail?: string
  /** The part and what it uses, as last told by control. */
  readonly hops?: readonly RouteHop[]
  /** When it happened, milliseconds since 1970. */
  readonly timeMs?: number
  /** Since when control has not been heard, milliseconds since 1970. */
  readonly staleSinceMs?: number | null
}

/** A whole answer: flat headers with a content-length, and the body. */
export interface RenderedProblem {
  readonly status: number
  readonly reason: string
  readonly headers: string[]
  readonly body: string
}

/** Renders for the client's Accept header. */
export function renderProblem(problem: Problem, accept: string | undefined): RenderedProblem {
  const facts = causes[problem.cause]
  const title = facts.title.replace('{part}', () => (problem.part === '' ? 'the app' : problem.part))
  const way = wayOf(problem.cause, facts.hop, problem.part, problem.hops ?? [])
  const told = { title, sentences: [...(problem.detail === undefined ? [] : [problem.detail]), facts.advice], way }
  const kind = preferred(accept ?? '')
  const body = { html: page, json: json, text: plain }[kind](problem, facts, told)
  const type = { html: 'text/html; charset=utf-8', json: 'application/problem+json', text: 'text/plain; charset=utf-8' }
  const headers = ['content-type', type[kind], 'content-length', String(Buffer.byteLength(body))]
  headers.push('cache-control', 'no-store', 'vary', 'accept', 'x-request-id', problem.requestId)
  if (kind === 'html') headers.push(...pageHeaders)
  if (facts.retryAfterS !== undefined) headers.push('retry-after', String(facts.retryAfterS))
  return { status: facts.status, reason: facts.reason, headers, body }
}

/** Whichever of a page and JSON the client names first; text when it names neither (curl, fetch). */
function preferred(accept: string): 'html' | 'json' | 'text' {
  const html = accept.indexOf('text/html')
  const json = accept.search(/application\/(?:problem\+)?json/)
  if (html === -1 && json === -1) return 'text'
  return json === -1 || (html !== -1 && html < json) ? 'html' : 'json'
}

interface Told {
  readonly title: string
  readonly sentences: readonly string[]
  readonly way: Way
}

/** The trace's id when it is another than the request's. */
function otherTrace({ requestId, traceId }: Problem): string | null {
  return traceId === undefined || traceId === requestId ? null : traceId
}

function plain(problem: Problem, facts: CauseFacts, { title, sentences, way }: Told): string {
  const said = [...way.line, ...way.used].map(({ name, said }) => `${name}: ${said}`)
  const trace = otherTrace(problem)
  const lines = [
    `${facts.status} ${facts.reason}: ${title}`,
    ...(way.finding === null ? [] : [way.finding]),
    ...sentences,
    ...(problem.part === ''
      ? []
      : [`${said.slice(0, 3).join(' -> ')}${said.length > 3 ? ` -> ${said.slice(3).join(', ')}` : ''}`]),
    `Request ${problem.requestId} (${problem.cause})${trace === null ? '' : `, trace ${trace}`}.`,
  ]
  return `${lines.map((line) => line.replaceAll(/\p{Cc}|\p{Cf}/gu, '\u{fffd}')).join('\n')}\n`
}

function json(problem: Problem, facts: CauseFacts, { title, sentences, way }: Told): string {
  return JSON.stringify({
    type: 'about:blank',
    title,
    status: facts.status,
    detail: [...(way.finding === null ? [] : [way.finding]), ...sentences].join(' '),
    cause: problem.cause,
    hop: facts.hop,
    ...(problem.part === '' ? {} : { app: problem.app, part: problem.part }),
    way: [...way.line, ...way.used].map(({ kind, name, mark, said }) => ({ kind, name, mark, said })),
    requestId: problem.requestId,
    traceId: problem.traceId ?? problem.requestId,
  })
}

function page(problem: Problem, facts: CauseFacts, { title, sentences, way }: Told): string {
  const { cause, requestId, part, timeMs, staleSinceMs } = problem
  const broken = way.used.filter(({ mark }) => mark === 'failed').map(({ name }) => name)
  return renderPage({
    status: facts.status,
    reason: facts.reason,
    title,
    sentences,
    way,
    cause,
    commands: facts.hop === 'part' ? ['stead status', ...[part, ...broken].map((name) => `stead logs ${name}`)] : [],
    requestId,
    traceId: otherTrace(problem),
    timeMs: timeMs ?? null,
    staleSinceMs: (problem.hops ?? []).length === 0 ? null : (staleSinceMs ?? null),
    reloadS: facts.reload === true ? (facts.retryAfterS ?? 2) : null,
  })
}
