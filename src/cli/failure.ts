/**
 * From what a part or the machine says to what a person reads: which part, why, and what to do about it. Pure.
 * Invariant: a foreseen failure becomes one sentence and a hint; what is not foreseen is left as it is.
 */
import { isSteadError, messageOf, SteadError, systemCodeOf } from '../base/index.ts'
import { describePart, formatBytes, formatDuration, type Part } from '../model/index.ts'

/** The error for a part that will not get ready. `reason`: in the agent's words, a hint of its own on the lines below the first. */
export function partFailure(part: Part, reason: string): SteadError {
  const [first = '', ...rest] = reason.split('\n')
  const own = rest.join('\n')
  return new SteadError({
    code: 'cli.part-failed',
    message: `${describePart(part)} gave up: ${first}`,
    hint: part.kind === 'resource' || own !== '' ? own : hintFor(part, first),
  })
}

function hintFor(part: Exclude<Part, { kind: 'resource' }>, reason: string): string {
  if (reason.includes('memory limit')) {
    const limit = formatBytes(part.limits.memoryBytes)
    return `Let it use less, or give it more than ${limit} with limits: { memory: ... } in the app file.`
  }
  if (reason.includes('code 127') || reason.includes('code 126')) {
    return `It is started as ${JSON.stringify(part.run)}: a program by its path in ${part.from} (./name), node, python3, or one of the system.`
  }
  if (part.kind === 'service' && reason.includes('did not get ready')) return readyHint(part)
  if (part.kind === 'service') return 'A service keeps running until it is stopped; see its last lines above.'
  return 'A job ends with code 0 when it has done its work; see its last lines above.'
}

function readyHint(part: Extract<Part, { kind: 'service' }>): string {
  const { ready } = part
  const time = formatDuration(ready.timeoutMs)
  switch (ready.kind) {
    case 'http':
      return (
        `Within ${time} it must listen on the port in PORT, and answer GET ${ready.path} with a status from 200 to ` +
        `${ready.statusBelow - 1}. Change that with ready: { http: '/path', timeout: '1m' }.`
      )
    case 'tcp':
      return `Within ${time} it must listen on port ${ready.port}. Change that with ready: { tcp: ${ready.port}, timeout: '1m' }.`
    case 'command':
      return `Within ${time} ${JSON.stringify(ready.run)}, run beside it, must end with code 0.`
    case 'started':
      return 'See its last lines above.'
  }
}

/** What the operating system refuses, in words; by its code. */
const refusals: Readonly<Record<string, { readonly what: string; readonly hint: string }>> = {
  ENOSPC: { what: 'the disk is full', hint: 'Make room, or set STEAD_STATE to a directory on a larger disk.' },
  EDQUOT: { what: 'the disk quota is used up', hint: 'Make room, or set STEAD_STATE to a directory on another disk.' },
  EROFS: { what: 'the disk is read-only', hint: 'Set STEAD_STATE and STEAD_RUN to directories you may write.' },
  EACCES: {
    what: 'a file may not be read or written',
    hint: 'Look at its owner and rights, or set STEAD_STATE and STEAD_RUN to directories you may write.',
  },
  EMFILE: { what: 'this process may open no more files', hint: 'Raise the limit, as in `ulimit -n 65536`.' },
}

/** What was thrown as a foreseen failure, where it is one: also what the operating system refused. Null for a bug. */
export function asForeseen(error: unknown): SteadError | null {
  if (isSteadError(error)) return error
  const refusal = refusals[systemCodeOf(error) ?? '']
  if (refusal === undefined) return null
  const { what, hint } = refusal
  return new SteadError({ code: 'cli.machine-refused', message: `${what}: ${messageOf(error)}`, hint, cause: error })
}

/** The same error, told as that of a part. */
export function ofPart(part: string, error: unknown): unknown {
  const foreseen = asForeseen(error)
  if (foreseen === null) return error
  const { code, message, hint, retry } = foreseen
  return new SteadError({
    code,
    message: `${part}: ${message}`,
    retry,
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  })
}
