/** What can go wrong, each as one sentence and what to do. Pure. */
import { SteadError } from '../base/index.ts'
import type { ProcessFacts } from './recipe.ts'

/** Why something cannot be had, and what to do. */
export interface Refusal {
  readonly reason: string
  readonly hint: string
}

export function noProcess(pid: number | string): SteadError {
  return new SteadError({
    code: 'debug.no-process',
    message: `there is no process ${pid}`,
    hint: 'Process ids change with every start: look it up again with `ps` or `stead status`.',
  })
}

export function notAllowed(pid: number, uid: number | null): SteadError {
  const whose = uid === null ? '' : `, which belongs to user ${uid}`
  return new SteadError({
    code: 'debug.forbidden',
    message: `you may not look into process ${pid}${whose}`,
    hint: 'Run the command as that user, or as root. Where root may not either, it is in a container of its own: look from inside.',
  })
}

export function processGone(facts: Pick<ProcessFacts, 'pid'>): SteadError {
  return new SteadError({
    code: 'debug.process-gone',
    message: `process ${facts.pid} ended while it was attached`,
    hint: 'Its last output says why: `stead logs`, or wherever it writes.',
  })
}

export function refused(reason: string, hint: string, cause?: unknown): SteadError {
  return new SteadError({ code: 'debug.refused', message: reason, hint, cause })
}

export function unknownLanguage(facts: ProcessFacts, known: readonly string[]): SteadError {
  return new SteadError({
    code: 'debug.unknown-language',
    message: `process ${facts.pid} runs ${facts.executable}, for which there is no recipe`,
    hint: `There are recipes for ${known.join(', ')}.`,
  })
}

export function didNotAnswer(what: string, ms: number): SteadError {
  return new SteadError({
    code: 'debug.no-answer',
    message: `${what} did not answer within ${Math.round(ms / 100) / 10} s`,
    hint: 'The process may be stopped, or the machine very busy. Try again.',
    retry: 'later',
  })
}

export function connectionLost(why: string): SteadError {
  return new SteadError({
    code: 'debug.lost',
    message: `the debugger's connection ended: ${why}`,
    hint: 'Attach again; if the process ended, its last output says why.',
    retry: 'later',
  })
}

export function targetSays(method: string, message: string): SteadError {
  return new SteadError({ code: 'debug.target-refused', message: `${method}: ${message}` })
}

export function unknownPlace(file: string, near: readonly string[]): SteadError {
  return new SteadError({
    code: 'debug.unknown-place',
    message: `the process has loaded no file that ends in '${file}'`,
    hint: near.length === 0 ? 'It may be loaded later: try again when it has run.' : `It has: ${near.join(', ')}.`,
  })
}

export function noStatement(file: string, line: number): SteadError {
  return new SteadError({
    code: 'debug.unknown-place',
    message: `there is no statement at ${file}:${line} or after it`,
    hint: 'Name a line on which something is executed.',
  })
}

export function badRequest(message: string, hint: string): SteadError {
  return new SteadError({ code: 'debug.bad-request', message, hint })
}
