/** Forecasts and autoscaling: numbers in, numbers and reasons out. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { Dice } from '../../test/scheduler/dice.ts'
import { forecast, scaleOut, scaleUp } from './index.ts'

/** Days of hours: low at night, high at noon, growing, with some noise. */
function days(count: number, noise: number): number[] {
  const dice = new Dice(3)
  return Array.from({ length: count * 24 }, (_, hour) => {
    const wave = 100 + 50 * Math.sin((2 * Math.PI * (hour % 24)) / 24)
    return wave + hour * 0.1 + dice.number(noise + 1) - noise / 2
  })
}

suite('forecast', () => {
  test('a day that repeats and grows is forecast within its noise', () => {
    const history = days(15, 6)
    const { expected, upper, meanError, naiveError, reason } = forecast(history.slice(0, -24), 24, 24)
    const actual = history.slice(-24)
    const error = actual.reduce((sum, value, hour) => sum + Math.abs(value - (expected[hour] ?? 0)), 0) / 24
    assert.ok(error < 6, `wrong by ${error}`)
    assert.ok(meanError < naiveError, reason)
    assert.match(reason, /less than/)
    const within = actual.filter((value, hour) => value <= (upper[hour] ?? 0)).length
    assert.ok(within >= 22, `${within} of 24 within the upper bound`)
  })

  test('with less than two seasons it does not pretend', () => {
    const { expected, upper, reason } = forecast([10, 14], 24, 2)
    assert.deepEqual(
      [expected, upper],
      [
        [14, 14],
        [18, 18],
      ],
    )
    assert.match(reason, /less than two seasons/)
  })

  test('what is no measurement is refused', () => {
    for (const measured of [[], [Number.NaN], [1, Infinity]])
      assert.throws(() => forecast(measured, 2, 1), /finite numbers/)
    assert.throws(() => forecast([1], 0, 1), /season/)
  })
})

suite('autoscaling', () => {
  const options = { min: 1, max: 10, target: 100 }

  test('up at once, and with the forecast before it is needed', () => {
    assert.equal(scaleOut(2, [150, 450], options).count, 5)
    assert.equal(scaleOut(2, [150], options, 700).count, 7)
    assert.match(scaleOut(2, [150], options, 700).reason, /700 expected/)
    assert.match(scaleOut(2, [5000], options).reason, /at most 10 allowed \(50 wanted\)/)
  })

  test('small differences are left alone', () => {
    assert.equal(scaleOut(2, [210], options).count, 2)
    assert.match(scaleOut(2, [210], options).reason, /within 10 %/)
  })

  test('down only after it has lasted', () => {
    assert.equal(scaleOut(5, [480, 90, 90, 90, 90], options).count, 5)
    assert.equal(scaleOut(5, [90, 90], options).count, 5)
    assert.equal(scaleOut(5, [90, 90, 90, 90, 90], options).count, 1)
    assert.equal(scaleOut(5, [280, 90, 90, 90, 90], options).count, 4)
  })

  test('never outside its bounds, whatever is measured', () => {
    const dice = new Dice(1)
    for (let round = 0; round < 500; round++) {
      const total = Array.from({ length: dice.number(8) }, () => dice.number(3000))
      const { count, reason } = scaleOut(1 + dice.number(12), total, { min: 2, max: 8, target: 100 })
      assert.ok(count >= 2 && count <= 8 && reason !== '', `${count}`)
    }
    assert.equal(scaleOut(0, [0], { min: 0, max: 5, target: 1 }).count, 0)
  })

  test('requests follow what was used: cpu by its usual peak, memory by its highest', () => {
    const used = Array.from({ length: 100 }, (_, index) => (index === 50 ? 4000 : 200 + (index % 10)))
    assert.equal(scaleUp('cpu', 1000, used).amount, Math.ceil(209 * 1.15))
    assert.equal(scaleUp('memory', 1000, used).amount, 4600)
    assert.equal(scaleUp('cpu', 240, used).amount, 240)
    assert.match(scaleUp('cpu', 1000, [1]).reason, /at least 20/)
  })
})
