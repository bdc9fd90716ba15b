/**
 * How much of a share of errors may be chance. A bound that holds at every look, however often one looks: the sequence of
 * looks is what makes ordinary tests cry wolf.
 *
 * The interval is the set of rates p that a bet against them has not ruled out: the bet spreads its stake evenly over all
 * rates, so its winnings after s errors in n requests are B(s + 1, n - s + 1) / (p^s (1 - p)^(n - s)). While p is true these
 * are a fair game, which reaches 1/alpha with a probability of at most alpha, ever (Ville's inequality).
 *
 * Invariant: with independent requests of one rate, the chance that a bound is wrong at any of all looks is at most `alpha`.
 */

/** Natural logarithms of 0! to 20!, where the series below is not good enough. */
const smallFactorials: readonly number[] = Array.from({ length: 21 }, (_, n) => {
  let sum = 0
  for (let factor = 2; factor <= n; factor += 1) sum += Math.log(factor)
  return sum
})

/** The natural logarithm of n!, by Stirling's series. */
function logFactorial(n: number): number {
  const small = smallFactorials[n]
  if (small !== undefined) return small
  return n * Math.log(n) - n + Math.log(2 * Math.PI * n) / 2 + 1 / (12 * n) - 1 / (360 * n ** 3)
}

/** The natural logarithm of what the bet against rate `p` has won. `p` lies strictly between 0 and 1. */
function logWinnings(errors: number, requests: number, p: number): number {
  const rest = requests - errors
  const mixed = logFactorial(errors) + logFactorial(rest) - logFactorial(requests + 1)
  return mixed - errors * Math.log(p) - rest * Math.log1p(-p)
}

/** No lower rate than this is plausible. 0 to 1. */
export function rateAtLeast(errors: number, requests: number, alpha: number): number {
  if (errors <= 0) return 0
  let [low, high] = [0, errors / requests]
  // Between 0 and what was observed the winnings only fall.
  for (let round = 0; round < 50; round += 1) {
    const middle = (low + high) / 2
    if (logWinnings(errors, requests, middle) >= -Math.log(alpha)) low = middle
    else high = middle
  }
  return low
}

/** No higher rate than this is plausible. 0 to 1; 1 without requests. */
export function rateAtMost(errors: number, requests: number, alpha: number): number {
  return 1 - rateAtLeast(requests - errors, requests, alpha)
}
