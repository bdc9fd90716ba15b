/**
 * Parts that run on a kernel of their own, through the real command line: `isolation: 'kernel'` and nothing else is changed.
 * Emulated, Node starts in some ten seconds; the database beside it is a common sandbox.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { release } from 'node:os'
import { dirname } from 'node:path'
import { suite, test } from 'node:test'
import { ask, eventually, freePort, Workbench } from './command-line.ts'
import { diallingFiles, isAnyPart } from './dialling-part.ts'
import { machineParts, needsGuests } from './machine-parts.ts'
import { needsAll, needsFile } from './needs.ts'

const files = diallingFiles(
  "require('node:os').release()",
  "isolation: 'kernel', ready: { http: '/', timeout: '3m' }, limits: { processes: 64 }",
)
const skip = needsAll(needsGuests(), needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'))
const noGdb = needsFile('/usr/bin/gdb', 'apt-get install gdb')
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

    await t.test(
      'gdb comes to its kernel one after another, and it runs on when gdb is killed',
      { skip: noGdb },
      async () => {
        const debug = bench.start('debug', '--kernel', 'web')
        await debug.until(/^gdb .*\n/m)
        const [, file = '', stub = ''] = /gdb -x (\S+) .*127\.0\.0\.1:(\d+)/.exec(debug.output()) ?? []
        const orders = ['-batch', '-nx', '-x', file, '-ex', `target remote 127.0.0.1:${stub}`, '-ex', 'tasks']
        const serves = (): Promise<number> => {
          const asking = (): Promise<number> =>
            ask(port, '/', { host: 'small.localhost' }).then(
              ({ status }) => status,
              () => 0,
            )
          return eventually('it serves', asking, (status) => status === 200, 60_000)
        }
        for (const last of [['detach'], ['python import os; os.kill(os.getpid(), 9)']]) {
          const { stdout } = spawnSync('gdb', [...orders, ...last.flatMap((order) => ['-ex', order])], {
            encoding: 'utf8',
            timeout: 60_000,
          })
          assert.match(stdout, /^ +0 {2}swapper\/0$/m)
          await serves()
        }
        // A laptop that is closed says nothing any more.
        const gdb = spawn('gdb', orders.slice(1), { stdio: ['pipe', 'ignore', 'ignore'] })
        const status = async (): Promise<string> => (await bench.stead('status')).stdout
        await eventually('it stands', status, (said) => /stands at a breakpoint/.test(said))
        debug.child.kill('SIGSTOP')
        await serves()
        gdb.kill('SIGKILL')
        debug.child.kill('SIGKILL')
        rmSync(dirname(file), { recursive: true })
        assert.match((await bench.stead('status', '--json')).stdout, /"restarts":0/)
      },
    )

    await t.test('another command that needs a kernel says so of a part that has none', async () => {
      const refused = await bench.stead('vm', 'console', 'db')
      assert.notEqual(refused.code, 0)
      assert.match(refused.stderr, /no kernel of its own/)
      const debug = await bench.stead('debug', '--kernel', 'db')
      assert.deepEqual([debug.code, debug.stdout], [1, ''])
      assert.match(debug.stderr, /no kernel of its own.*isolation: 'kernel'/)
    })
    assert.equal((await up.stop()).code, 0)
  })
})
