/**
 * The example with a PostgreSQL on a system of its own: what it stores is there after its restart and after one of the platform, its
 * names and its egress are those of any part, and a kept state is gone back to. Minutes, because the processor is emulated.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { symlinkSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ask, eventually, freePort, Workbench } from './command-line.ts'
import { machineDisk, machineParts, needsDisk } from './machine-parts.ts'
import { needsAll, needsFile } from './needs.ts'

const skip = needsAll(needsDisk(), needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'))
const bootMs = 900_000

interface Told {
  readonly ledger: { readonly visits: number; readonly version: string; readonly kernel: string }
  readonly web: { readonly kernel: string }
}

test('a PostgreSQL on a system of its own keeps what it was told', { skip, timeout: 2_400_000 }, async (t) => {
  const env = machineParts.root === null ? {} : { STEAD_GUEST_PARTS: machineParts.root }
  await using bench = new Workbench({ env })
  bench.useExample('own-machine')
  symlinkSync(join(machineDisk.place, 'disk.qcow2'), join(bench.appDir, 'disk.qcow2'))
  const port = await freePort()
  let up = bench.up('--port', String(port))
  await up.until(/own-machine runs, after/, bootMs)

  /** As soon as the system answers; its port is open before the database is what it was told to be. */
  async function visited(): Promise<Told> {
    const { body } = await eventually(
      'the ledger answers',
      () => ask(port, '/', { host: 'ledger.localhost' }),
      ({ status }) => status === 200,
      bootMs,
    )
    return JSON.parse(body) as Told
  }

  let visits = 0
  await t.test('the part beside it reaches it by name, and it runs on a kernel of its own', async () => {
    const told = await visited()
    visits = told.ledger.visits
    assert.match(told.ledger.version, /^PostgreSQL \d+/)
    assert.notEqual(told.ledger.kernel, release())
    assert.equal(told.web.kernel, release())
    assert.equal((await visited()).ledger.visits, visits + 1)
    assert.match((await bench.stead('logs', 'ledger', '--lines', '2000')).stdout, /ledger login|systemd/)
  })

  await t.test('a state that was kept is gone back to', async () => {
    assert.equal((await bench.stead('vm', 'snapshot', 'ledger', 'before')).code, 0)
    const kept = (await visited()).ledger.visits
    await visited()
    assert.equal((await bench.stead('vm', 'restore', 'ledger', 'before')).code, 0)
    assert.equal((await visited()).ledger.visits, kept, 'the visits after it are gone')
    visits = kept
  })

  await t.test('its console is a shell of its root, to whom nothing is open that was not given', async () => {
    const [command = '', ...args] = bench.command(['vm', 'console', 'ledger'])
    const child = spawn(command, args, { cwd: bench.appDir, env: bench.env })
    let said = ''
    child.stdout.on('data', (chunk) => (said += String(chunk)))
    try {
      const tell = async (line: string, pattern: RegExp): Promise<void> => {
        child.stdin.write(`${line}\n`)
        await eventually(
          line,
          () => Promise.resolve(said),
          (text) => pattern.test(text),
          120_000,
        )
      }
      await tell('', /[#$] /)
      await tell('echo "I am $(id -un)"', /I am root/)
      await tell('getent hosts example.org || echo "no such name: $?"', /no such name: 2/)
      await tell('timeout 20 bash -c "exec 3<>/dev/tcp/192.0.2.1/80" || echo "not there: $?"', /not there: \d/)
    } finally {
      child.kill('SIGKILL')
    }
    assert.match((await bench.stead('status')).stdout, /ledger .*example\.org.*not in its egress/s)
  })

  await t.test('what it stored is there after a stop and a start of the platform', async () => {
    assert.equal((await up.stop()).code, 0)
    up = bench.up('--port', String(port))
    await up.until(/own-machine runs, after/, bootMs)
    assert.equal((await visited()).ledger.visits, visits + 1)
    assert.equal((await up.stop()).code, 0)
  })
})
