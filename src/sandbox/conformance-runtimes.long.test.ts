/** The driver with container runtimes of OCI against the conformance suite, with one user and with several. */
import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { after } from 'node:test'
import { conform } from './fixtures/conform.ts'

// Some give what they are handed to the program's user.
after(() => {
  const { uid, mode } = statSync('/dev/null')
  assert.deepEqual([uid, mode & 0o777], [0, 0o666], "the host's own /dev/null")
})

for (const name of ['runc', 'crun']) {
  conform(name, 'one user')
  conform(name, 'several users')
}
