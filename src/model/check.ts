/**
 * Checks of what an app file hands to the builders, at the line where it does. TypeScript refuses most of it earlier;
 * these are for JavaScript and for what types cannot say. Every error names the part and the option.
 */
import { SteadError } from '../base/index.ts'
import { namePattern } from './patterns.ts'
import { formatBytes, formatDuration, parseBytes, parseDuration } from './units.ts'
import { describePart, isApp, isPart, isUse } from './values.ts'

/** A value as it is put into a sentence. */
export function show(value: unknown): string {
  if (isPart(value)) return describePart(value.part)
  if (isApp(value)) return `app '${value.name}'`
  if (isUse(value)) return `${describePart(value.resource.part)} with only ${value.rights.join(', ')}`
  if (typeof value === 'string') return `'${value.length > 60 ? `${value.slice(0, 60)}...` : value}'`
  if (Array.isArray(value)) return 'a list'
  if (value instanceof Promise) return 'a promise'
  if (typeof value === 'object' && value !== null) return isRecord(value) ? 'a plain object' : 'an object'
  return typeof value === 'function' ? 'a function' : String(value)
}

/** The error for an option that is there but wrong. `expected` completes "must be ...". */
export function badOption(owner: string, option: string, expected: string, value: unknown, hint: string): SteadError {
  const message = `${owner}: ${option} must be ${expected}, not ${show(value)}.`
  return new SteadError({ code: 'model.bad-option', message, hint })
}

/** Refuses a name that cannot be one. Throws `model.bad-name`. */
export function checkName(kind: string, name: unknown): void {
  if (typeof name === 'string' && namePattern.test(name)) return
  throw new SteadError({
    code: 'model.bad-name',
    message: `The name of ${/^[aeiou]/.test(kind) ? 'an' : 'a'} ${kind} must be 1 to 40 lower-case letters, digits and dashes, starting with a letter and not ending with a dash, not ${show(name)}.`,
    hint: "For example 'web' or 'image-worker'.",
  })
}

/** Whether a value is a plain object: names and values, and nothing that a builder or a class made. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || isPart(value) || isApp(value) || isUse(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** Refuses options that are no record or have a name that is not `known`. Throws `model.bad-option`, `model.unknown-option`. */
export function checkOptions(owner: string, options: unknown, known: readonly string[], option = 'options'): void {
  const list = `It has: ${known.join(', ')}.`
  if (!isRecord(options)) throw badOption(owner, option, 'a plain object', options, list)
  const unknown = Object.keys(options).find((key) => !known.includes(key))
  if (unknown === undefined) return
  const where = option === 'options' ? `${owner} has` : `${owner}: ${option} has`
  throw new SteadError({ code: 'model.unknown-option', message: `${where} no option '${unknown}'.`, hint: list })
}

/** Refuses a number outside of `min` to `max`, or one with a fraction where `whole`. */
export function checkNumber(
  owner: string,
  option: string,
  value: unknown,
  { min, max, whole, hint }: { min: number; max: number; whole: boolean; hint: string },
): void {
  const fits = typeof value === 'number' && value >= min && value <= max && (!whole || Number.isInteger(value))
  if (!fits) throw badOption(owner, option, `a ${whole ? 'whole ' : ''}number from ${min} to ${max}`, value, hint)
}

/** Bytes of an amount such as `256MB`, refused outside of `min` to `max` bytes. */
export function readBytes(owner: string, option: string, value: unknown, min: number, max: number): number {
  const bytes = typeof value === 'string' ? parseBytes(value) : null
  if (bytes !== null && bytes >= min && bytes <= max) return bytes
  const expected = `an amount from ${formatBytes(min)} to ${formatBytes(max)}`
  throw badOption(owner, option, expected, value, "A number with a unit (KB, MB, GB, KiB, MiB, GiB), as in '256MB'.")
}

/** Milliseconds of a duration such as `30s`, refused outside of `min` to `max` milliseconds. */
export function readDuration(owner: string, option: string, value: unknown, min: number, max: number): number {
  const ms = typeof value === 'string' ? parseDuration(value) : null
  if (ms !== null && ms >= min && ms <= max) return ms
  const expected = `a duration from ${formatDuration(min)} to ${formatDuration(max)}`
  throw badOption(owner, option, expected, value, "A number with a unit (ms, s, m, h, d), as in '30s'.")
}

/** Refuses anything but a list of texts with at least one, short enough for a command line. */
export function checkCommand(owner: string, option: string, value: unknown): void {
  const fits =
    Array.isArray(value) &&
    value.length > 0 &&
    value.length <= 1000 &&
    value.every((word) => typeof word === 'string' && word.length <= 32_768 && !word.includes('\0')) &&
    value[0] !== ''
  if (fits) return
  const hint = "The program and its arguments as a list, as in ['node', 'server.ts']; there is no shell."
  throw badOption(owner, option, 'a list of texts', value, hint)
}
