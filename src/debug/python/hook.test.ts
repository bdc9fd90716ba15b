/** What a Python that ends by an error says of itself, where it was started with the hook. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { findOnPath } from '../drivers/tools.ts'
import { pythonHook } from './hook.ts'

const python = findOnPath('python3')
const program = `class Order:
    def __repr__(self): raise RuntimeError('never called')
def total(order, headers):
    password = 'hunter2'
    count = len(order['items'])
    return order['sum'] / (count - 2)
who = Order()
total({'items': [1, 'é\\n'], 'sum': 9, 'api_key': 'abc'}, {'Authorization': 'Bearer x', 'more': [[[[who]]]]})
`

test(
  'an error that nobody caught shows values but for secret ones, and runs none of the code',
  { skip: python === null && 'needs python3' },
  () => {
    const dir = mkdtempSync(join(tmpdir(), 'stead-hook-'))
    try {
      writeFileSync(join(dir, 'sitecustomize.py'), pythonHook)
      writeFileSync(join(dir, 'program.py'), program)
      const run = (...args: readonly string[]): { readonly status: number | null; readonly stderr: string } =>
        spawnSync(python ?? '', args, { env: { PYTHONPATH: dir, PATH: process.env['PATH'] }, encoding: 'utf8' })
      const { status, stderr } = run(join(dir, 'program.py'))
      assert.equal(status, 1)
      assert.match(
        stderr,
        /ZeroDivisionError: division by zero\nValues, of the innermost function first:\n {2}total, line 6: order = /,
      )
      assert.match(stderr, /items: \[1, 'é\\n'\], sum: 9, api_key: \[redacted\]/)
      assert.match(stderr, /password = \[redacted\], count = 2\n/)
      assert.doesNotMatch(stderr.slice(stderr.indexOf('Values')), /hunter2|abc|Bearer|never called/)
      assert.match(stderr, /who = <Order>/)
      assert.deepEqual(run('-c', 'raise SystemExit(3)').stderr, '')
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  },
)
