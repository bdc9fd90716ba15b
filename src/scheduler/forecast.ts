/**
 * What load will be, from what it was: a seasonal forecast with its error shown. Level and trend are smoothed exponentially,
 * and each step of the season has its own deviation (Holt and Winters, additive). The error is what the forecast would
 * have been wrong by on the measurements themselves, each predicted from those before it. Pure: numbers in, numbers out.
 */
import { badInput } from './errors.ts'
import { readWhole } from './units.ts'

export interface Forecast {
  /** The expected values of the next steps. */
  readonly expected: readonly number[]
  /** Expected plus the error that 95 of 100 earlier forecasts stayed within; what to provide for. */
  readonly upper: readonly number[]
  /** Mean absolute error of the earlier forecasts, one step ahead, and the same for "as a season before". */
  readonly meanError: number
  readonly naiveError: number
  /** Why it can or cannot be relied on, as a sentence. */
  readonly reason: string
}

const measurementsMax = 100_000
const levelSmoothing = 0.3
const trendSmoothing = 0.02
const seasonSmoothing = 0.3

/**
 * Forecasts `steps` values after the measurements, which are equally spaced and repeat after about `season` of them (24 for
 * hours of a day). With fewer than two seasons the last value is all that is known. Throws `scheduler.bad-input`.
 */
export function forecast(measured: readonly number[], season: number, steps: number): Forecast {
  readWhole('season', season, 1, measurementsMax)
  readWhole('steps', steps, 1, measurementsMax)
  if (measured.length === 0 || measured.length > measurementsMax || measured.some((value) => !Number.isFinite(value)))
    throw badInput('measurements', `1 to ${measurementsMax} finite numbers`, measured.length)
  if (measured.length < 2 * season) return short(measured, steps)
  const state = start(measured, season)
  const errors: number[] = []
  const naive: number[] = []
  for (let index = season; index < measured.length; index++) {
    const value = measured[index] ?? 0
    errors.push(Math.abs(value - predict(state, index, 1)))
    naive.push(Math.abs(value - (measured[index - season] ?? 0)))
    update(state, index, value)
  }
  // What was learnt in the first season after the start is not held against it.
  const judged = errors.slice(Math.min(errors.length - 1, season))
  const margin = judged.toSorted((a, b) => a - b)[Math.min(judged.length - 1, Math.floor(judged.length * 0.95))] ?? 0
  const expected = Array.from({ length: steps }, (_, step) => predict(state, measured.length, step + 1))
  const meanError = mean(judged)
  const naiveError = mean(naive.slice(naive.length - judged.length))
  const better = meanError <= naiveError ? 'less than' : 'more than'
  return {
    expected,
    // Further ahead is less certain: the margin grows with the square root of the steps.
    upper: expected.map((value, step) => value + margin * Math.sqrt(Math.min(step + 1, season))),
    meanError,
    naiveError,
    reason: `wrong by ${round(meanError)} on average over ${judged.length} forecasts, ${better} the ${round(naiveError)} of repeating the season before`,
  }
}

interface State {
  readonly season: number
  level: number
  trend: number
  readonly deviations: number[]
}

function start(measured: readonly number[], season: number): State {
  const first = mean(measured.slice(0, season))
  const second = mean(measured.slice(season, 2 * season))
  const deviations = measured.slice(0, season).map((value) => value - first)
  return { season, level: first, trend: (second - first) / season, deviations }
}

function predict(state: State, index: number, ahead: number): number {
  return state.level + ahead * state.trend + (state.deviations[(index + ahead - 1) % state.season] ?? 0)
}

function update(state: State, index: number, value: number): void {
  const at = index % state.season
  const deviation = state.deviations[at] ?? 0
  const level = levelSmoothing * (value - deviation) + (1 - levelSmoothing) * (state.level + state.trend)
  state.trend = trendSmoothing * (level - state.level) + (1 - trendSmoothing) * state.trend
  state.level = level
  state.deviations[at] = seasonSmoothing * (value - level) + (1 - seasonSmoothing) * deviation
}

function short(measured: readonly number[], steps: number): Forecast {
  const last = measured.at(-1) ?? 0
  const steady = measured.slice(1).map((value, index) => Math.abs(value - (measured[index] ?? 0)))
  const error = steady.length === 0 ? 0 : Math.max(...steady)
  return {
    expected: Array.from({ length: steps }, () => last),
    upper: Array.from({ length: steps }, () => Math.max(...measured, last + error)),
    meanError: mean(steady),
    naiveError: mean(steady),
    reason: `only ${measured.length} measurements, less than two seasons: the last value, with the largest change seen as its error`,
  }
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length
}

function round(value: number): string {
  return String(Math.round(value * 100) / 100)
}
