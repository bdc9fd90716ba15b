/** A checkpoint is one moment of PostgreSQL, SQLite and files under load: five of them; a hundred are in the long suite. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Book, violations } from './checkpoint-proof.ts'
import { checkpointProofSkip, proveCheckpoints } from './checkpoint-run.ts'

test('the judge finds each kind of disorder', () => {
  const book = new Book()
  for (const store of ['postgres', 'sqlite', 'files'] as const) book.acknowledge(book.begin(store))
  const [askedAt, answeredAt] = [book.now(), book.now()]
  book.acknowledge(book.begin('files'))
  const contents = (files: readonly number[], sqlite: readonly number[] = [1]) => ({
    postgres: new Set([0]),
    sqlite: new Set(sqlite),
    files: new Set(files),
  })
  assert.deepEqual(violations(book, contents([2]), askedAt, answeredAt), [])
  assert.match(violations(book, contents([2, 3]), askedAt, answeredAt).join(), /^3 of files was begun after/)
  assert.match(violations(book, contents([]), askedAt, answeredAt).join(), /^2 of files was acknowledged before/)
  assert.match(violations(book, contents([2], []), 0, answeredAt).join(), /^1 of sqlite is missing, and something/)
})

test('checkpoints under mixed load are each one moment', { skip: checkpointProofSkip }, async (context) => {
  context.diagnostic(await proveCheckpoints(5))
})
