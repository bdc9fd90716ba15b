/**
 * How many instances a service should have, and how large they should be: pure decisions from measured use, each with its
 * reason. Up at once, because being late costs requests; down only after the lower need has lasted, because flapping costs
 * more than it saves.
 */
import { badInput } from './errors.ts'
import { formatAmount, readNumber, readWhole } from './units.ts'

export interface HorizontalOptions {
  readonly min: number
  readonly max: number
  /** Use of one instance to aim at, in the unit of the measurements. */
  readonly target: number
  /** Differences of less than this share of the target are left alone; 0.1 by default. */
  readonly tolerance?: number
  /** For how many of the last measurements a lower number must have been enough before it is taken; 5 by default. */
  readonly calm?: number
}

export interface HorizontalDecision {
  readonly count: number
  readonly reason: string
}

/**
 * The number of instances. `total` is the use of all instances together, the newest last; `expected` what a forecast (its upper
 * bound) says about the time that an instance needs to start. Throws `scheduler.bad-input`.
 */
export function scaleOut(
  current: number,
  total: readonly number[],
  options: HorizontalOptions,
  expected?: number,
): HorizontalDecision {
  const { min, max, target, tolerance = 0.1, calm = 5 } = options
  readWhole('min', min, 0, 1e6)
  readWhole('max', max, Math.max(1, min), 1e6)
  readWhole('the current count', current, 0, 1e6)
  readWhole('calm', calm, 1, 1e4)
  readNumber('tolerance', tolerance, 0, 1)
  if (!(target > 0) || !Number.isFinite(target)) throw badInput('target', 'a number above 0', target)
  for (const value of total) readNumber('a measurement', value, 0, 1e18)
  const clamp = (count: number): number => Math.min(max, Math.max(min, count))
  const latest = total.at(-1)
  if (latest === undefined) return { count: clamp(current), reason: 'nothing was measured yet' }
  const wanted = (use: number): number => Math.ceil(use / target - 1e-9)
  const foreseen = expected !== undefined && expected > latest
  const use = foreseen ? expected : latest
  const what = `${round(use)} ${foreseen ? 'expected' : 'in use'}, ${round(target)} for each instance`
  const count = clamp(wanted(use))
  if (count > current) {
    if (!foreseen && current >= min && use <= current * target * (1 + tolerance))
      return { count: current, reason: `${what}: within ${Math.round(tolerance * 100)} % of ${current} instances` }
    const capped = wanted(use) > max ? `, at most ${max} allowed (${wanted(use)} wanted)` : ''
    return { count, reason: `${what}: ${count} instances${capped}` }
  }
  if (count === current) return { count, reason: `${what}: ${count} instances are right` }
  // Down: as far as all of the last measurements allow, with the tolerance as room.
  const recent = total.slice(-calm)
  if (current > max) return { count: max, reason: `at most ${max} instances allowed` }
  if (recent.length < calm)
    return {
      count: current,
      reason: `${what}: fewer would do, but only ${recent.length} of ${calm} measurements say so`,
    }
  const needed = clamp(Math.max(count, wanted(Math.max(...recent) * (1 + tolerance))))
  if (needed >= current)
    return { count: current, reason: `${what}: fewer would do, but not for all of the last ${calm} measurements` }
  return {
    count: needed,
    reason: `${what}, and no more than ${round(Math.max(...recent))} in the last ${calm} measurements: ${needed} instances`,
  }
}

export interface VerticalDecision {
  /** Milli-cores or bytes. */
  readonly amount: number
  readonly reason: string
}

/**
 * The request of one instance of cpu or memory, from its measured use: what 95 of 100 measurements of cpu stayed below (cpu can be
 * squeezed), or the most memory ever used (memory cannot), with 15 % on top. Changes of less than 10 % are left
 * alone. Throws `scheduler.bad-input`.
 */
export function scaleUp(resource: 'cpu' | 'memory', current: number, used: readonly number[]): VerticalDecision {
  readWhole('the current request', current, 0, Number.MAX_SAFE_INTEGER)
  for (const value of used) readNumber('a measurement', value, 0, 1e18)
  if (used.length < 20)
    return { amount: current, reason: `only ${used.length} measurements, at least 20 are needed to judge a request` }
  const sorted = used.toSorted((a, b) => a - b)
  const basis = resource === 'cpu' ? (sorted[Math.floor(sorted.length * 0.95)] ?? 0) : (sorted.at(-1) ?? 0)
  const amount = Math.max(1, Math.ceil(basis * 1.15))
  const what = `${resource === 'cpu' ? '95 of 100 measurements stayed below' : 'at most'} ${formatAmount(resource, Math.round(basis))}`
  if (Math.abs(amount - current) <= current * 0.1)
    return { amount: current, reason: `${what}: ${formatAmount(resource, current)} are right` }
  return { amount, reason: `${what}: ${formatAmount(resource, amount)} instead of ${formatAmount(resource, current)}` }
}

function round(value: number): string {
  return String(Math.round(value * 100) / 100)
}
