/** What is given back of backups and drills that were killed: theirs, old, and nothing else. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OperatorClient } from '../operator/index.ts'
import { giveBackLeft } from './backups.ts'

const dayMs = 86_400_000

test('copies that a killed backup or drill has left are given back after a day', async () => {
  const done: string[] = []
  const copy = (name: string, createdAtMs: number) => ({ name, createdAtMs })
  const copies = [
    copy('backup-0123abcd', 0),
    copy('drill-ab12', 0),
    copy('branch-drill-ab12', 0),
    copy('backup-of-mine', 0),
    copy('backup-9999zzzz', dayMs),
  ]
  const releases = {
    data: () => Promise.resolve({ copies }),
    list: () => Promise.resolve({ branches: [{ name: 'drill-ab12' }, { name: 'try' }] }),
    removeBranch: (_app: string, name: string) => Promise.resolve(void done.push(`branch ${name}`)),
    deleteCopies: (_app: string, names: readonly string[]) => Promise.resolve(done.push(...names)),
  }
  const operator = { releases } as unknown as OperatorClient
  await giveBackLeft({ operator, app: 'shop' }, dayMs + 1)
  assert.deepEqual(done, ['branch drill-ab12', 'backup-0123abcd', 'drill-ab12'])
})
