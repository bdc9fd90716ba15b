/** The errors of the scheduler. An event that is refused has changed nothing. */
import { SteadError } from '../base/index.ts'

/** A value that cannot be: `what` names it, `expected` says what would do. */
export function badInput(what: string, expected: string, value: unknown): SteadError {
  const shown = typeof value === 'string' ? `'${value}'` : (JSON.stringify(plain(value)) ?? 'nothing')
  return new SteadError({
    code: 'scheduler.bad-input',
    message: `${what} must be ${expected}, not ${shown.slice(0, 80)}`,
    hint: 'See the README of the scheduler for units and options.',
  })
}

/** JSON has no word for NaN and the infinities. */
function plain(value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value
}

/** A name that is taken. */
export function duplicateName(what: string, name: string): SteadError {
  return new SteadError({
    code: 'scheduler.duplicate-name',
    message: `there is a ${what} called '${name}' already`,
    hint: 'Choose another name; the names of ended jobs are kept for a while, so that others can depend on them.',
  })
}

/** A name that nobody has. */
export function unknownName(what: string, name: string): SteadError {
  return new SteadError({
    code: 'scheduler.unknown-name',
    message: `there is no ${what} called '${name}'`,
    hint: 'It may have ended, or never been added.',
  })
}

/** Jobs that wait for one another. */
export function dependencyCycle(names: readonly string[]): SteadError {
  return new SteadError({
    code: 'scheduler.cycle',
    message: `jobs wait for one another: ${names.join(' -> ')}`,
    hint: 'Take one of the dependencies out.',
  })
}

/** What no node, empty, could ever hold. */
export function impossible(job: string, reason: string, hint: string): SteadError {
  return new SteadError({ code: 'scheduler.impossible', message: `job '${job}' can never start: ${reason}`, hint })
}

/** More than a limit of limits.ts allows. */
export function tooLarge(what: string, max: number): SteadError {
  return new SteadError({
    code: 'scheduler.too-large',
    message: `${what}: at most ${max} are possible`,
    hint: 'Split it, or wait until others have ended.',
  })
}

/** An event from before one that was applied already. */
export function lateEvent(atMs: number, nowMs: number): SteadError {
  return new SteadError({
    code: 'scheduler.late-event',
    message: `an event of ${atMs} ms came after one of ${nowMs} ms`,
    hint: 'Give events in the order of their times.',
  })
}
