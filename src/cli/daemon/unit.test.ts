/** The unit of systemd: what stands in it, and that words come through as they are. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { unitOf } from './unit.ts'

test('the unit starts the command, takes up new versions, and ends no app', () => {
  const unit = unitOf(['/opt/stead/current/bin/stead', 'serve', '--port', '80'], {})
  assert.match(unit, /^ExecStart=\/opt\/stead\/current\/bin\/stead serve --port 80$/m)
  assert.match(unit, /^ExecReload=\/bin\/kill -HUP \$MAINPID$/m)
  assert.match(unit, /^KillMode=process$/m)
  assert.match(unit, /^Restart=always$/m)
  assert.match(unit, /^WantedBy=multi-user\.target$/m)
})

test('words with blanks, quotes, percents and dollars are taken literally', () => {
  const unit = unitOf(['/srv/my stead', 'a"b', '100%', '$HOME'], { STEAD_STATE: '/data/x y' })
  assert.match(unit, /^ExecStart="\/srv\/my stead" "a\\"b" 100%% "\$\$HOME"$/m)
  assert.match(unit, /^Environment="STEAD_STATE=\/data\/x y"$/m)
})

const analyze = '/usr/bin/systemd-analyze'

test('systemd understands every line of it', { skip: !existsSync(analyze) && `needs ${analyze}` }, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'stead-unit-'))
  try {
    const path = join(dir, 'stead.service')
    writeFileSync(path, unitOf([process.execPath, 'serve', '--tls', 'files:/a b'], { STEAD_STATE: '/data/100% "x"' }))
    // It finds fault by words, not by its exit code.
    const said = await new Promise<string>((resolve) => {
      execFile(analyze, ['verify', '--man=no', path], { env: {} }, (_error, stdout, stderr) => resolve(stdout + stderr))
    })
    assert.equal(said, '')
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})
