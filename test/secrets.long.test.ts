/**
 * The logins of a database are changed over under load, through the real command line, again and again, while control and
 * the agent are killed at different moments of it.
 */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { eventually } from './command-line.ts'
import { DaemonBench } from './daemon-bench.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'

const skip = needsAll(needsRoot(), needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'))

interface Listed {
  readonly name: string
  readonly current: number
  readonly rotation: string | null
}

suite('rotation under load', { skip }, () => {
  test('the logins of a database are changed over without a failed request, and also when control or the agent are killed', async (t) => {
    await using daemon = await DaemonBench.start()
    daemon.bench.useExample('shop')
    await daemon.deploy('shop')
    await daemon.ready('shop', 'web')
    const list = async (): Promise<readonly Listed[]> => {
      const { code, stdout } = await daemon.bench.stead('secret', 'list', '--app', 'shop', '--json')
      // Control may be the one that was killed a moment ago.
      return code === 0 ? (JSON.parse(stdout) as { secrets: readonly Listed[] }).secrets : []
    }
    let version = 1
    /** Rotates once, kills in the middle of it, and answers what became of requests meanwhile. */
    const rotate = async (role: 'control' | 'agent' | null, afterMs: number): Promise<ReadonlyMap<string, number>> => {
      version += 1
      const load = daemon.load('shop.localhost')
      const rotated = await daemon.bench.stead('secret', 'rotate', 'db', '--app', 'shop', '--json')
      assert.equal(rotated.code, 0, rotated.stderr)
      await pause(afterMs)
      if (role !== null) await daemon.kill(role)
      const isDone = (secrets: readonly Listed[]): boolean => {
        const logins = secrets.filter(({ name }) => name.startsWith('db/'))
        return logins.length > 0 && logins.every(({ current, rotation }) => current === version && rotation === null)
      }
      await eventually(`version ${version}, ${role ?? 'nobody'} killed after ${afterMs} ms`, list, isDone, 120_000)
      return load.stop()
    }
    for (const role of [null, 'control'] as const) {
      for (const afterMs of role === null ? [0] : [0, 400, 1500]) {
        const seen = await rotate(role, afterMs)
        t.diagnostic(
          `${role ?? 'nobody'} killed: ${[...seen].map(([status, count]) => `${count} x ${status}`).join(', ')}`,
        )
        assert.deepEqual([...seen.keys()], ['200'])
      }
    }
    // The agent carries the streams between parts, so the app feels that; the rotation gets through all the same.
    for (const afterMs of [0, 400, 1500]) {
      await rotate('agent', afterMs)
      const load = daemon.load('shop.localhost')
      await pause(500)
      assert.deepEqual([...(await load.stop()).keys()], ['200'])
    }
  })
})
