/**
 * Arithmetic of availability. All figures are fractions of time, from 0 to 1. Parts are taken to fail independently of one
 * another: where they do not, say what they share (`structure.ts`) or how much of their failure is common (`sharedCause`).
 */

/** Seconds of a year of 365.25 days. */
export const yearSeconds: number = 365.25 * 86_400

/** From the mean time between failures and the mean time to repair, in one unit. */
export function availabilityOf(meanBetweenFailures: number, meanToRepair: number): number {
  return meanBetweenFailures / (meanBetweenFailures + meanToRepair)
}

/** All are needed. */
export function inSeries(parts: readonly number[]): number {
  return parts.reduce((product, part) => product * part, 1)
}

/** One is enough. */
export function inParallel(parts: readonly number[]): number {
  return 1 - parts.reduce((product, part) => product * (1 - part), 1)
}

/** At least `needed` of `count` equal parts. */
export function kOfN(needed: number, count: number, part: number): number {
  let sum = 0
  for (let working = needed; working <= count; working++)
    sum += combinations(count, working) * part ** working * (1 - part) ** (count - working)
  return sum
}

/**
 * One of `count` equal parts is enough, and a share `beta` of their failures hits all at once. With U = 1 - A of one part:
 * U of all = beta U + ((1 - beta) U)^count.
 */
export function sharedCause(count: number, part: number, beta: number): number {
  const down = 1 - part
  return 1 - (beta * down + ((1 - beta) * down) ** count)
}

/** Seconds of a year in which it is down: (1 - A) times the seconds of a year. */
export function downtimeSecondsPerYear(availability: number): number {
  return (1 - availability) * yearSeconds
}

/** How many nines: 0.999 has 3, 0.9995 has 3.3. Infinite for 1. */
export function ninesOf(availability: number): number {
  return -Math.log10(1 - availability)
}

function combinations(count: number, chosen: number): number {
  let result = 1
  for (let index = 1; index <= chosen; index++) result = (result * (count - chosen + index)) / index
  return result
}
