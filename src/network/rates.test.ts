/** Rates are shared by class, whoever comes and goes; what cannot be held is refused. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { seededRandom } from '../base/index.ts'
import { shapeArguments } from './drivers/shape.ts'
import { Rates, type RateWish, sharesOf } from './index.ts'
import type { Outside } from './network.ts'

const megabit = 1_000_000

/** An outside that remembers to what it was held, and can fail. */
class Held implements Outside {
  rate: number | null = null
  fails = false

  async shape(bitsPerSecond: number | null): Promise<void> {
    await Promise.resolve()
    if (this.fails) throw new Error('no such qdisc')
    this.rate = bitsPerSecond
  }

  listen(): never {
    return assert.fail('nobody listens here')
  }

  datagrams(): never {
    return assert.fail('nobody listens here')
  }

  carried(): never {
    return assert.fail('nobody asks')
  }

  attempts(): readonly [] {
    return []
  }
}

const settled = (): Promise<void> => new Promise((resolve) => void setTimeout(resolve, 5))

suite('rates', () => {
  test('what is guaranteed is held back, what is left is shared equally', () => {
    const wishes: RateWish[] = [
      { id: 'a', guaranteed: 60 * megabit },
      { id: 'b', guaranteed: null },
      { id: 'c', guaranteed: null },
    ]
    assert.deepEqual(Object.fromEntries(sharesOf(100 * megabit, wishes)), {
      a: 60 * megabit,
      b: 20 * megabit,
      c: 20 * megabit,
    })
    assert.deepEqual(Object.fromEntries(sharesOf(null, wishes)), { a: 60 * megabit, b: null, c: null })
  })

  test('all together never come to more than the network carries, in whichever order they come and go', async () => {
    const random = seededRandom(7)
    const rates = new Rates({ holds: true, onNotice: assert.fail })
    rates.carries(100 * megabit)
    const members = new Map<string, { held: Held; leave: Disposable }>()
    for (let step = 0; step < 300; step++) {
      const [roll = 0, size = 0] = random.bytes(2)
      if (roll < 150) {
        const held = new Held()
        const guaranteed = size < 128 ? (size + 1) * megabit : null
        const id = `i${step}`
        try {
          members.set(id, { held, leave: await rates.join({ id, guaranteed }, held) })
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'network.no-rate')
        }
      } else {
        const [id] = [...members.keys()].slice(size % Math.max(1, members.size))
        if (id === undefined) continue
        members.get(id)?.leave[Symbol.dispose]()
        members.delete(id)
        await settled()
      }
      const sum = [...members.values()].reduce((total, { held }) => total + (held.rate ?? 0), 0)
      assert.ok(sum <= 100 * megabit, `${sum} after step ${step}`)
      for (const { held } of members.values()) assert.notEqual(held.rate, null)
    }
    assert.ok(members.size > 3)
  })

  test('refused: more than is left, and a guarantee where nothing can be held; best effort goes on without', async () => {
    const notices: string[] = []
    const rates = new Rates({ holds: true, onNotice: (text) => void notices.push(text) })
    rates.carries(10 * megabit)
    const wish = { id: 'a', guaranteed: 10 * megabit }
    await assert.rejects(rates.join(wish, new Held()), { code: 'network.no-rate', message: /9500000 bit/ })
    const broken = new Held()
    broken.fails = true
    await assert.rejects(rates.join({ id: 'b', guaranteed: megabit }, broken), /no such qdisc/)
    using _anyway = await rates.join({ id: 'c', guaranteed: null }, broken)
    assert.deepEqual(notices, ['no such qdisc'])
    const none = new Rates({ holds: false, onNotice: assert.fail })
    await assert.rejects(none.join(wish, new Held()), { code: 'network.no-rate', message: /cannot be held/ })
    using _unheld = await none.join({ id: 'd', guaranteed: null }, broken)
  })

  test('when it becomes known what the network carries, all are held to it; and let go again', async () => {
    const rates = new Rates({ holds: true, onNotice: assert.fail })
    const [own, other] = [new Held(), new Held()]
    using _own = await rates.join({ id: 'a', guaranteed: megabit }, own)
    using _other = await rates.join({ id: 'b', guaranteed: null }, other)
    assert.deepEqual([own.rate, other.rate], [megabit, null])
    rates.carries(10 * megabit)
    await settled()
    assert.deepEqual([own.rate, other.rate], [megabit, 9 * megabit])
    rates.carries(null)
    await settled()
    assert.deepEqual([own.rate, other.rate], [megabit, null])
  })

  test('the words for tc', () => {
    assert.equal(
      shapeArguments('outside', 20 * megabit).join(' '),
      'qdisc replace dev outside root tbf rate 20000000bit burst 32768b latency 100ms',
    )
    assert.equal(shapeArguments('outside', null).join(' '), 'qdisc del dev outside root')
  })
})
