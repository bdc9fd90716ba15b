/**
 * Limit groups of version 2, which a machine with version 1 cannot offer: the conformance suite inside a virtual machine
 * with a kernel of its own. About two minutes, because the processor is emulated.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { needsAll, needsFile, needsRoot } from '../../test/needs.ts'
import { boot, fetchKernel, makeRoot } from './fixtures/guest.ts'

const skip = needsAll(
  needsRoot(),
  process.arch === 'x64' ? false : 'the guest is one of x86_64',
  needsFile('/usr/bin/qemu-system-x86_64', 'apt-get install qemu-system-x86'),
  needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'),
  needsFile('/usr/bin/s6-log', 'apt-get install s6'),
  needsFile('/usr/bin/apt-get', 'this is not Debian'),
)

const guestTimeoutMs = 280_000
const command =
  'cd /repo && node --disable-warning=ExperimentalWarning --test --test-isolation=none --test-reporter=tap src/sandbox/fixtures/guest-suite.ts'

test('the conformance suite passes on limit groups of version 2', { skip }, async (context) => {
  const directory = mkdtempSync(`${tmpdir()}/stead-guest-`)
  try {
    const kernel = fetchKernel(directory)
    if ('missing' in kernel) return context.skip(kernel.missing)
    const root = makeRoot(directory, join(import.meta.dirname, '../..'), command)
    const said = await boot(kernel.path, root, guestTimeoutMs)
    const failed = said.match(/^ *not ok .*$/gm) ?? []
    assert.deepEqual(failed, [], said.slice(-20_000))
    assert.match(said, /guest: ended with 0/, said.slice(-5_000))
    assert.match(said, /^ok 1 - limit groups here are of version 2/m)
    context.diagnostic(`${said.match(/^ +ok /gm)?.length ?? 0} cases passed in the guest`)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})
