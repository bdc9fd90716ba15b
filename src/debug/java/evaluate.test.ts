/** What expressions are worth, against a program that is played here. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSteadError } from '../../base/index.ts'
import { badRequest } from '../refusals.ts'
import { evaluate, isTrue, type Program } from './evaluate.ts'
import { type JavaValue, nullValue, shownPlain } from './value.ts'

const int = (value: number): JavaValue => ({ kind: 'whole', type: 'int', value: BigInt(value) })
const order: JavaValue = { kind: 'reference', tag: 76, id: 7n }
const list: JavaValue = { kind: 'reference', tag: 91, id: 8n }
const values = new Map<string, JavaValue>([
  ['count', { kind: 'whole', type: 'long', value: 7n }],
  ['small', int(2_147_483_647)],
  ['ratio', { kind: 'real', type: 'double', value: 0.5 }],
  ['open', { kind: 'boolean', value: true }],
  ['name', { kind: 'text', value: 'ann' }],
  ['order', order],
  ['list', list],
  ['nothing', nullValue],
])
const asked: string[] = []
const program: Program = {
  async name(name) {
    const found = values.get(name)
    if (found === undefined) throw badRequest(`there is no '${name}'`, '')
    return found
  },
  field: async (_of, name) => (name === 'length' ? int(3) : int(40)),
  element: async (_of, index) => int(index * 10),
  async call(_of, name) {
    asked.push(name)
    return int(99)
  },
  text: async (of) => (of.kind === 'text' ? of.value : null),
}

async function worth(text: string): Promise<string> {
  const value = await evaluate(text, program)
  return value.kind === 'reference' ? `#${value.id}` : shownPlain(value)
}

test('expressions are worth what Java makes of them', async () => {
  const cases: readonly (readonly [text: string, value: string])[] = [
    ['count + 1000', '1007'],
    ['2 + 3 * 4 - -1', '15'],
    ['(2 + 3) * 4', '20'],
    ['7 / 2', '3'],
    ['-7 % 3', '-1'],
    ['7 / 2.0', '3.5'],
    ['small + 1', '-2147483648'],
    ['small + 1L', '2147483648'],
    ['0x1f', '31'],
    ['ratio * 2 >= 1.0 && !(count < 7)', 'true'],
    ['count == 7.0', 'true'],
    ['false || open', 'true'],
    ['"a" + count + name', '"a7ann"'],
    [`name.equals("ann")`, 'true'],
    ['name.equals("b")', 'false'],
    ['order == null', 'false'],
    ['nothing == null', 'true'],
    ['order', '#7'],
    ['list[1 + 1]', '20'],
    ['list.length', '3'],
    ['order.customer.age + order.total()', '139'],
    [`'a' + 1`, '98'],
  ]
  for (const [text, value] of cases) {
    assert.equal(await worth(text), value, text)
  }
  assert.deepEqual(asked, ['total'])
})

test('the second side is not looked at where the first decides', async () => {
  assert.equal(await worth('nothing == null || neverDeclared'), 'true')
  assert.equal(await worth('nothing != null && neverDeclared'), 'false')
})

test('what is no expression, or cannot be, is said', async () => {
  const wrong = [
    'count +',
    'count = 3',
    'a.b.',
    'f(1)',
    '1 2',
    '"a',
    '((1)',
    'count++',
    'open + 1',
    '1 / 0',
    'list["a"]',
  ]
  const all = [...wrong, 'name == "ann"', 'count && open', `${'('.repeat(200)}1`, 'x'.repeat(3000), '']
  for (const text of all) {
    await assert.rejects(evaluate(text, program), (error) => {
      assert.ok(isSteadError(error), `${text}: ${String(error)}`)
      return error.code === 'debug.bad-request'
    })
  }
  assert.throws(() => isTrue(int(1)), /neither true nor false/)
})
