/**
 * What the gateway answers when no instance does, pure: a closed set of causes, each with its status, the hop that is to
 * blame, and what a person should know. Rendered as a page, as problem+json (RFC 9457) or as text, by what the client
 * accepts; from memory, with no script and no other file, so that it also works when nothing else does.
 */

export type Cause =
  | 'bad-request'
  | 'not-allowed'
  | 'no-route'
  | 'misdirected'
  | 'no-instance'
  | 'starting'
  | 'deploying'
  | 'refused'
  | 'connect-timed-out'
  | 'timed-out'
  | 'reset'
  | 'bad-response'
  | 'overloaded'
  | 'too-large'
  | 'header-too-large'
  | 'client-timed-out'

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
  /** Names the request in logs and traces. */
  readonly requestId: string
  /** Empty when no route took the request. */
  readonly app: string
  readonly part: string
  /** One more sentence, about this case. */
  readonly detail?: string
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
  const text = { title, sentences: [...(problem.detail === undefined ? [] : [problem.detail]), facts.advice] }
  const kind = preferred(accept ?? '')
  const body = { html: page, json: json, text: plain }[kind](problem, facts, text)
  const type = { html: 'text/html; charset=utf-8', json: 'application/problem+json', text: 'text/plain; charset=utf-8' }
  const headers = ['content-type', type[kind], 'content-length', String(Buffer.byteLength(body))]
  headers.push('cache-control', 'no-store', 'x-request-id', problem.requestId)
  if (kind === 'html') headers.push('content-security-policy', "default-src 'none'; style-src 'unsafe-inline'")
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

interface ProblemText {
  readonly title: string
  readonly sentences: readonly string[]
}

function plain(problem: Problem, facts: CauseFacts, text: ProblemText): string {
  const head = `${facts.status} ${facts.reason}: ${text.title}`
  return `${[head, ...text.sentences, `Request ${problem.requestId} (${problem.cause}).`].join('\n')}\n`
}

function json(problem: Problem, facts: CauseFacts, text: ProblemText): string {
  return JSON.stringify({
    type: 'about:blank',
    title: text.title,
    status: facts.status,
    detail: text.sentences.join(' '),
    cause: problem.cause,
    hop: facts.hop,
    ...(problem.part === '' ? {} : { app: problem.app, part: problem.part }),
    requestId: problem.requestId,
  })
}

function escape(value: string): string {
  return value
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;')
}

const style = `:root{color-scheme:light dark;--ink:#1d2733;--soft:#5c6b7a;--line:#c9d3dc;--paper:#f6f8f9;--bad:#b3261e;--good:#1b7f5c}
@media(prefers-color-scheme:dark){:root{--ink:#e8edf1;--soft:#9fb0bf;--line:#3a4753;--paper:#141a20;--bad:#ff8a80;--good:#5fd0a5}}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--paper);color:var(--ink);font:1rem/1.5 system-ui,sans-serif}
main{max-width:36rem;padding:2rem}h1{font-size:1.5rem;line-height:1.25;margin:1.5rem 0 .5rem}p{margin:.5rem 0;overflow-wrap:anywhere}
ol{display:flex;list-style:none;margin:0;padding:0;gap:.5rem}li{flex:1;border-top:.3rem solid var(--line);padding-top:.5rem;color:var(--soft)}
li.good{border-color:var(--good)}li.bad{border-color:var(--bad);color:var(--bad);font-weight:600}small{color:var(--soft)}`

function page(problem: Problem, facts: CauseFacts, text: ProblemText): string {
  const hops: readonly [Hop, string][] = [
    ['you', 'You'],
    ['gateway', 'Gateway'],
    ['part', problem.part === '' ? 'App' : problem.part],
  ]
  const guilty = hops.findIndex(([hop]) => hop === facts.hop)
  const marks = hops.map(([, label], at) => {
    const state = at === guilty ? 'bad' : at < guilty ? 'good' : ''
    const said = at === guilty ? 'failed here' : at < guilty ? 'fine' : 'not reached'
    return `<li class="${state}">${escape(label)}<br><small>${said}</small></li>`
  })
  const reload = facts.reload === true ? `<meta http-equiv="refresh" content="${facts.retryAfterS ?? 2}">` : ''
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">${reload}
<title>${facts.status} ${escape(text.title)}</title><style>${style}</style></head>
<body><main><ol>${marks.join('')}</ol>
<h1>${escape(text.title)}</h1>
${text.sentences.map((sentence) => `<p>${escape(sentence)}</p>`).join('\n')}
<p><small>${facts.status} ${escape(facts.reason)} &middot; ${problem.cause} &middot; request ${escape(problem.requestId)}</small></p>
</main></body></html>
`
}
