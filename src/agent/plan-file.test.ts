/** The plan on disk: whole, sealed, and readable without control; one in plain text is sealed when it is read. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemRandom as random } from '../base/index.ts'
import type { Plan } from '../protocol/index.ts'
import { keyFile, memoryKeys, openBox } from '../secrets/index.ts'
import { readPlan, writePlan } from './plan-file.ts'

const plan: Plan = {
  epoch: 3,
  revision: 7,
  assignments: [
    {
      kind: 'resource',
      id: 'shop.db',
      app: 'shop',
      part: 'db',
      type: 'postgres',
      config: null,
      hostUid: 1,
      adminPassword: 'administrators-password',
      grants: [{ consumer: 'web', user: 'web', password: 'consumers-password', version: 1 }],
      revoked: [],
      bundle: null,
      wanted: true,
    },
  ],
}

function place(): Disposable & { readonly dir: string; readonly path: string } {
  const dir = mkdtempSync(join(tmpdir(), 'stead-plan-'))
  return { dir, path: join(dir, 'plan.json'), [Symbol.dispose]: () => rmSync(dir, { recursive: true }) }
}

const shown = (dir: string): boolean =>
  readdirSync(dir).some((name) => /administrators|consumers/.test(readFileSync(join(dir, name), 'utf8')))

test('it is sealed, and an agent that starts with nothing but its key reads it', async () => {
  using at = place()
  const keys = (): ReturnType<typeof keyFile> => keyFile(join(at.dir, 'node.key'))
  writePlan(at.path, plan, await openBox(keys(), random))
  assert.equal(shown(at.dir), false)
  assert.equal(statSync(at.path).mode & 0o777, 0o600)
  assert.deepEqual(readPlan(at.path, await openBox(keys(), random)), plan)
})

test('one that an earlier release wrote is read, and sealed', async () => {
  using at = place()
  const [resource] = plan.assignments
  assert.ok(resource?.kind === 'resource')
  const { revoked: _, ...first } = resource
  const grants = [{ consumer: 'web', user: 'web', password: 'consumers-password' }]
  writeFileSync(at.path, JSON.stringify({ ...plan, assignments: [{ ...first, grants }] }))
  const box = await openBox(memoryKeys(), random)
  assert.deepEqual(readPlan(at.path, box), plan)
  assert.equal(shown(at.dir), false)
  assert.deepEqual(readPlan(at.path, box), plan)
})

test('with another key, or cut, it is refused and left as it is', async () => {
  using at = place()
  const box = await openBox(memoryKeys(), random)
  writePlan(at.path, plan, box)
  const text = readFileSync(at.path, 'utf8')
  const other = await openBox(memoryKeys(), random)
  assert.throws(() => readPlan(at.path, other), { code: 'agent.corrupt-plan' })
  assert.equal(readFileSync(at.path, 'utf8'), text)
  for (const bad of ['', text.slice(0, -40), '{"format":1,"sealed":null}', '{"format":1,"sealed":{"key":"a"}}']) {
    writeFileSync(at.path, bad)
    assert.throws(() => readPlan(at.path, box), { code: 'agent.corrupt-plan' }, bad)
  }
})
