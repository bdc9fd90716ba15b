/** What parts of apps use of a node by the hour, and what is expected of them. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { LoadBook, type LoadRecord } from './load.ts'

const hourMs = 3_600_000
const startMs = 500_000 * hourMs

/** Busy from eight to eighteen, with three cores; else half a core. */
function coresAt(hour: number): number {
  return hour % 24 >= 8 && hour % 24 < 18 ? 3 : 0.5
}

/** Lets an instance run for so many hours, said every ten minutes; those of `silent` are not heard. */
function run(book: LoadBook, hours: number, silent: (hour: number) => boolean = () => false): LoadRecord | null {
  let record: LoadRecord | null = null
  let cpuSeconds = 0
  for (let step = 0; step <= hours * 6; step++) {
    const hour = Math.floor(step / 6)
    if (!silent(hour)) {
      const used = [{ id: 'web', cpuSeconds, memoryBytes: 1000 }]
      record = book.take('n1', { full: step === 0, used }, startMs + step * 600_000) ?? record
    }
    cpuSeconds += coresAt(hour) * 600
  }
  return record
}

suite('load of a node', () => {
  test('nothing is expected before two days were seen; then the next day, hour by hour', () => {
    const book = new LoadBook()
    run(book, 47)
    const early = book.expected('n1', startMs + 47 * hourMs)
    assert.deepEqual(early.load, [])
    assert.match(early.reason, /47 of the 48 hours/)
    const later = new LoadBook()
    const record = run(later, 72)
    assert.equal(record?.cpu.length, 72)
    const nowMs = startMs + 72 * hourMs
    const { load, reason } = later.expected('n1', nowMs)
    assert.equal(load.length, 24)
    assert.match(reason, /wrong by 0 on average over \d+ forecasts/)
    for (const [hour, { fromMs, untilMs, cpu, memory }] of load.entries()) {
      assert.deepEqual([fromMs, untilMs, memory], [nowMs + hour * hourMs, nowMs + (hour + 1) * hourMs, 1000])
      assert.ok(Math.abs(Number(cpu) - coresAt(hour)) < 0.1, `${cpu} cores at ${hour}`)
    }
  })

  test('hours that were not seen are as a day before, and what a new instance had used is not counted twice', () => {
    const book = new LoadBook()
    const record = run(book, 72, (hour) => hour >= 30 && hour < 33)
    assert.deepEqual(record?.cpu.slice(30, 33), [6, 7, 8].map(coresAt))
    const restored = new LoadBook()
    restored.restore(new Map(record === null ? [] : [['n1', record]]))
    // Another agent, another instance: it says what it has used since it started.
    const said = { full: true, used: [{ id: 'web', cpuSeconds: 1_000_000, memoryBytes: 1 }] }
    let after: LoadRecord | null = null
    for (let step = 0; step <= 6; step++)
      after = restored.take('n1', said, startMs + 72 * hourMs + step * 600_000) ?? after
    assert.deepEqual([after?.cpu.length, after?.cpu.at(-1)], [73, 0])
  })

  test('no more than two weeks are kept; a longer silence, or a clock that was set back, begins anew', () => {
    const book = new LoadBook()
    const record = run(book, 400)
    assert.deepEqual([record?.cpu.length, record?.firstHour], [336, 500_000 + 64])
    book.away('n1')
    for (const hour of [2000, 100]) {
      const used = [{ id: 'web', cpuSeconds: 1, memoryBytes: 1 }]
      let begun: LoadRecord | null = null
      for (let step = 0; step <= 7; step++)
        begun = book.take('n1', { full: false, used }, startMs + hour * hourMs + step * 600_000) ?? begun
      assert.deepEqual([begun?.firstHour, begun?.cpu.length], [500_000 + hour, 1])
    }
    book.forget('n1')
    assert.match(book.expected('n1', startMs).reason, /^0 of/)
  })

  test('what the link carries is learnt like the rest: the busier way counts, and its forecast has its error', () => {
    const book = new LoadBook()
    const megabit = 1_000_000
    // At night a copy goes out; by day as much as a tenth of it comes in.
    const bitsAt = (hour: number): { sent: number; received: number } =>
      hour % 24 < 6 ? { sent: 80 * megabit, received: megabit } : { sent: megabit, received: 8 * megabit }
    let [sentBytes, receivedBytes] = [0, 0]
    let record: LoadRecord | null = null
    for (let step = 0; step <= 72 * 6; step++) {
      const used = [{ id: 'mirror', cpuSeconds: 0, memoryBytes: 0, carried: { sentBytes, receivedBytes } }]
      record = book.take('n1', { full: step === 0, used }, startMs + step * 600_000) ?? record
      const { sent, received } = bitsAt(Math.floor(step / 6))
      sentBytes += (sent / 8) * 600
      receivedBytes += (received / 8) * 600
      // Its link was made anew: counts begin at nothing, and nothing is counted that never was.
      if (step === 200) [sentBytes, receivedBytes] = [0, 0]
    }
    assert.deepEqual(
      record?.network?.slice(48, 56),
      [80, 80, 80, 80, 80, 80, 8, 8].map((rate) => rate * megabit),
    )
    const { load, reason } = book.expected('n1', startMs + 72 * hourMs)
    assert.match(reason, /link, bit\/s: .*wrong by/)
    assert.ok(Number(load[2]?.network) > 70 * megabit, `${load[2]?.network} at night`)
    assert.ok(Number(load[12]?.network) < 40 * megabit, `${load[12]?.network} by day`)
  })

  test('a record of an earlier release, which did not look at links, goes on', () => {
    const book = new LoadBook()
    const hours = Array.from({ length: 72 }, () => 1)
    book.restore(new Map([['n1', { firstHour: 500_000, cpu: hours, memory: hours }]]))
    assert.ok(book.expected('n1', startMs + 72 * hourMs).load.every(({ network }) => network === 0))
    let record: LoadRecord | null = null
    for (let step = 0; step <= 6; step++) {
      const carried = { sentBytes: step * 1_000_000, receivedBytes: 0 }
      const used = [{ id: 'web', cpuSeconds: step, memoryBytes: 1, carried }]
      record = book.take('n1', { full: true, used }, startMs + 72 * hourMs + step * 600_000) ?? record
    }
    assert.deepEqual([record?.network?.length, record?.network?.[0], record?.network?.at(-1)], [73, 0, 13_333])
  })
})
