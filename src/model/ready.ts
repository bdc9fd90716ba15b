/** How a service says when it is ready: the option in the app file, and the check it becomes in the graph. */
import { SteadError } from '../base/index.ts'
import { badOption, checkCommand, checkNumber, checkOptions, readDuration } from './check.ts'
import type { Ready } from './graph.ts'
import { requestPathPattern } from './patterns.ts'
import type { Duration } from './units.ts'

/**
 * One of: a path that must answer with 200 to 399 on the service's port (as text, or as `http`), a TCP port that must
 * accept, a command that must end with 0. `timeout` is how long the instance may take, 1s to 1h, default 30s, for a system on
 * a disk 5m.
 */
export type ReadyOption =
  | `/${string}`
  | { readonly http: `/${string}`; readonly timeout?: Duration; readonly tcp?: never; readonly command?: never }
  | { readonly tcp: number; readonly timeout?: Duration; readonly http?: never; readonly command?: never }
  | {
      readonly command: readonly [string, ...string[]]
      readonly timeout?: Duration
      readonly http?: never
      readonly tcp?: never
    }

const hint = "As in ready: '/healthz', or { http: '/healthz', timeout: '2m' }, { tcp: 5432 }, { command: ['./check'] }."

/** The check of a service, given its option, its port, and how long it may take where that is not said. Throws `model.bad-option`, `model.unknown-option`. */
export function readReady(
  owner: string,
  option: ReadyOption | undefined,
  { port, timeout }: { readonly port: number | undefined; readonly timeout: Duration },
): Ready {
  const usualMs = readDuration(owner, 'ready.timeout', timeout, 1000, 3_600_000)
  if (option === undefined) {
    // Without being asked, a program proves only that it answers: 404 or 401 on / is a program that runs.
    return port === undefined
      ? { kind: 'started', timeoutMs: usualMs }
      : { kind: 'http', path: '/', statusBelow: 500, timeoutMs: usualMs }
  }
  const check = typeof option === 'string' ? { http: option } : option
  checkOptions(owner, check, ['http', 'tcp', 'command', 'timeout'], 'ready')
  const kinds = (['http', 'tcp', 'command'] as const).filter((kind) => check[kind] !== undefined)
  if (kinds.length !== 1) {
    const message = `${owner}: ready must have exactly one of http, tcp and command, not ${kinds.join(' and ') || 'none'}.`
    throw new SteadError({ code: 'model.bad-option', message, hint })
  }
  const timeoutMs = readDuration(owner, 'ready.timeout', check.timeout ?? timeout, 1000, 3_600_000)
  if (check.tcp !== undefined) {
    checkNumber(owner, 'ready.tcp', check.tcp, { min: 1, max: 65_535, whole: true, hint })
    return { kind: 'tcp', port: check.tcp, timeoutMs }
  }
  if (check.command !== undefined) {
    checkCommand(owner, 'ready.command', check.command)
    return { kind: 'command', run: [...check.command], timeoutMs }
  }
  const path: unknown = check.http
  if (typeof path !== 'string' || !requestPathPattern.test(path)) throw badOption(owner, 'ready', 'a path', path, hint)
  if (port === undefined) {
    const message = `${owner}: ready asks for '${path}', but the service has no \`http\` port.`
    throw new SteadError({ code: 'model.bad-option', message, hint: 'Give it one, as in http: 3000.' })
  }
  return { kind: 'http', path, statusBelow: 400, timeoutMs }
}
