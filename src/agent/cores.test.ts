/** Core files where nobody has allowed them: nothing of the machine's is changed, and it is said. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { coreRefusal, Cores } from './cores.ts'

const pattern = '/proc/sys/kernel/core_pattern'
const skip =
  process.platform !== 'linux'
    ? 'needs Linux'
    : coreRefusal() === null
      ? 'this machine keeps core files: stead core --off'
      : false

test('without the switch a wish is answered with what to do, and nothing is changed', { skip }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'stead-cores-'))
  try {
    const former = readFileSync(pattern, 'utf8')
    const cores = new Cores(dir)
    assert.equal(cores.want('a.b.1', undefined), null)
    assert.match(cores.want('a.b.1', 1000) ?? '', /^no core file would be kept: .*`stead core --on`/)
    assert.equal(readFileSync(pattern, 'utf8'), former)
    // What lies there belongs to no end that had a wish.
    writeFileSync(join(dir, 'core'), 'old')
    assert.equal(cores.path, join(dir, 'core'))
    assert.equal(cores.ended(), null)
    assert.equal(cores.path, null)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})
