/**
 * Whether periodic reservations fit on one core under earliest deadline first: exact, in integers. With deadlines equal to
 * periods the sum of the shares decides (Liu and Layland); with shorter deadlines the demand of every interval that ends
 * at a deadline is compared with its length, up to the point beyond which it cannot be exceeded any more.
 */
import type { CpuTime } from './read.ts'

/** Deadlines that are looked at; a set that needs more is not admitted. */
const deadlinesMax = 100_000

function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  return b === 0n ? a : greatestCommonDivisor(b, a % b)
}

/** Whether the reservations meet all deadlines on one core. False also when that cannot be decided within bounds. */
export function fitsCore(reservations: readonly CpuTime[]): boolean {
  // The sum of the shares as one fraction.
  let used = 0n
  let whole = 1n
  for (const { runtimeUs, periodUs } of reservations) {
    const period = BigInt(periodUs)
    used = used * period + BigInt(runtimeUs) * whole
    whole *= period
    const divisor = greatestCommonDivisor(used, whole)
    used /= divisor
    whole /= divisor
  }
  if (used > whole) return false
  if (reservations.every(({ periodUs, deadlineUs }) => periodUs === deadlineUs)) return true
  const endUs = lastDeadline(reservations, used, whole)
  const deadlines = new Set<number>()
  for (const { periodUs, deadlineUs } of reservations)
    for (let atUs = deadlineUs; atUs <= endUs; atUs += periodUs) {
      deadlines.add(atUs)
      if (deadlines.size > deadlinesMax) return false
    }
  return [...deadlines].every((atUs) => demandUs(reservations, atUs) <= atUs)
}

/** Work that is released and due within the first `atUs`, when all start together. */
function demandUs(reservations: readonly CpuTime[], atUs: number): number {
  let sum = 0
  for (const { runtimeUs, periodUs, deadlineUs } of reservations)
    if (atUs >= deadlineUs) sum += (Math.floor((atUs - deadlineUs) / periodUs) + 1) * runtimeUs
  return sum
}

/** No deadline after this one can be missed first. */
function lastDeadline(reservations: readonly CpuTime[], used: bigint, whole: bigint): number {
  const longest = Math.max(...reservations.map(({ deadlineUs }) => deadlineUs))
  if (used === whole) {
    const hyperperiod = reservations.reduce((multiple, { periodUs }) => {
      const period = BigInt(periodUs)
      return (multiple / greatestCommonDivisor(multiple, period)) * period
    }, 1n)
    const end = hyperperiod + BigInt(longest)
    return end > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(end)
  }
  // Baruah, Rosier and Howell: beyond sum((period - deadline) * share) / (1 - sum of shares) demand stays below supply.
  const slack = reservations.reduce(
    (sum, { runtimeUs, periodUs, deadlineUs }) => sum + ((periodUs - deadlineUs) * runtimeUs) / periodUs,
    0,
  )
  const unused = Number(whole - used) / Number(whole)
  return Math.max(longest, Math.ceil((slack / unused) * (1 + 1e-9)) + 1)
}
