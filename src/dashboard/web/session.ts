/**
 * This browser's half of a session: the key, kept in the storage of this origin alone. Invariant: a login token is taken
 * out of the address before anything else happens, and sent once.
 */

const keyName = 'stead-key'

/** What the platform refused, in its own words. */
export class Refusal extends Error {
  readonly status: number
  readonly code: string
  readonly hint: string | null

  constructor(status: number, code: string, message: string, hint: string | null) {
    super(message)
    this.status = status
    this.code = code
    this.hint = hint
  }
}

/** Redeems the token in the address, if there is one. Answers what was wrong with it, or null. */
export async function logInFromAddress(): Promise<string | null> {
  const words = new URLSearchParams(location.hash.slice(1))
  const token = words.get('login')
  if (token === null) return null
  const app = words.get('app')
  history.replaceState(null, '', app === null ? '/' : `/#/${encodeURIComponent(app)}`)
  const answer = await fetch('/api/login', { method: 'POST', body: token }).catch(() => null)
  if (answer === null) return 'the platform does not answer'
  if (!answer.ok) return (await refusalOf(answer)).message
  const { key } = (await answer.json()) as { readonly key: string }
  localStorage.setItem(keyName, key)
  return null
}

/** Whether this browser has been let in, as far as it knows. */
export function hasKey(): boolean {
  return localStorage.getItem(keyName) !== null
}

/** Asks the platform. Throws a `Refusal` for every answer that is none of success. */
export async function ask(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const answer = await fetch(path, {
    method,
    headers: {
      'x-stead-key': localStorage.getItem(keyName) ?? '',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signal === undefined ? {} : { signal }),
  })
  if (!answer.ok) throw await refusalOf(answer)
  return answer
}

/** Ends the session here and on the platform. */
export async function logOut(): Promise<void> {
  await ask('POST', '/api/logout').catch(() => {})
  localStorage.removeItem(keyName)
  location.reload()
}

async function refusalOf(answer: Response): Promise<Refusal> {
  const said = (await answer.json().catch(() => ({}))) as { code?: string; message?: string; hint?: string }
  return new Refusal(answer.status, said.code ?? '', said.message ?? `it answered ${answer.status}`, said.hint ?? null)
}

/** The JSON values of an answer, one a line, as they come. */
export async function* linesOf(answer: Response): AsyncGenerator {
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader()
  if (reader === undefined) return
  let rest = ''
  try {
    for (;;) {
      const { value, done } = await reader.read()
      if (done) return
      const lines = (rest + value).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) yield JSON.parse(line)
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}
