/**
 * Parts that run on a kernel of their own, through the real command line: `isolation: 'kernel'` and nothing else is changed.
 * Emulated, Node starts in some ten seconds; the database beside it is a common sandbox.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { release } from 'node:os'
import { suite, test } from 'node:test'
import { eventually, freePort, Workbench } from './command-line.ts'
import { diallingFiles, isAnyPart } from './dialling-part.ts'
import { machineParts, needsGuests } from './machine-parts.ts'
import { needsAll, needsFile } from './needs.ts'

const files = diallingFiles(
  "require('node:os').release()",
  "isolation: 'kernel', ready: { http: '/', timeout: '3m' }, limits: { processes: 64 }",
)
const skip = needsAll(needsGuests(), needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'))
const bootMs = 200_000

suite('a part on a kernel of its own', { skip, timeout: 400_000 }, () => {
  test('edges, egress, logs, exec, console and status are those of any part', async (t) => {
    const env = machineParts.root === null ? {} : { STEAD_GUEST_PARTS: machineParts.root }
    await using bench = new Workbench({ env })
    bench.write(files)
    const port = await freePort()
    const up = bench.up('--port', String(port))
    await up.until(/small runs, after/, bootMs)

    await isAnyPart(t, bench, port, {
      isWhere: (seen) => assert.notEqual(seen, release()),
      status: /web: each instance on a kernel of its own/,
    })

    await t.test('its console opens a shell of its root', async () => {
      const [command = '', ...args] = bench.command(['vm', 'console', 'web'])
      const child = spawn(command, args, { cwd: bench.appDir, env: bench.env })
      let said = ''
      child.stdout.on('data', (chunk) => (said += String(chunk)))
      child.stderr.on('data', (chunk) => (said += String(chunk)))
      const says = (what: string, pattern: RegExp, ask: string): Promise<unknown> =>
        eventually(
          what,
          async () => {
            child.stdin.write(ask)
            await new Promise((resolve) => setTimeout(resolve, 500))
            return said
          },
          (text) => pattern.test(text),
          90_000,
        )
      try {
        await says('the console', /The console of web/, '')
        await says('a shell', /guest#/, '\n')
        await says('an answer', /I am 0/, 'echo "I am $(id -u)"\n')
      } finally {
        child.kill('SIGKILL')
      }
    })

    await t.test('another command that needs a kernel says so of a part that has none', async () => {
      const refused = await bench.stead('vm', 'console', 'db')
      assert.notEqual(refused.code, 0)
      assert.match(refused.stderr, /no kernel of its own/)
    })
    assert.equal((await up.stop()).code, 0)
  })
})
