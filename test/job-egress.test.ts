/** What submitted jobs may dial outside, and the rates that they are guaranteed there: admitted by the scheduler, held by the kernel. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { getServers } from 'node:dns'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { eventually, type Result, Workbench } from './command-line.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'
import { createOutsideWorld, worldPort } from './outside-world.ts'

const skip = needsAll(
  needsRoot(),
  needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'),
  needsFile('/usr/bin/python3', 'apt-get install python3'),
  needsFile('/sbin/ip', 'apt-get install iproute2'),
  getServers().every((server) => /^[\d.]+(?::53)?$/.test(server)) ? false : 'needs name servers with IPv4 addresses',
)

const appFile = `
import { app, service } from 'stead'
export default app('quiet', () => ({ parts: { idle: service('idle', { from: './idle', run: ['sleep', '100000'] }) } }))
`

const fetching = (host: string): string => `
import urllib.request
try:
    print(urllib.request.urlopen('http://${host}:${worldPort}/', timeout=20).read().decode())
except Exception as error:
    print('refused', getattr(error, 'reason', error))
`

/** How long the marked programs sleep: nothing else of this machine has these words. */
const marked = 86_123

/** Processes that sleep so long, and are no shells around them. */
function sleepers(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1') === `sleep\0${marked}\0`
      } catch {
        return false
      }
    })
}

suite('jobs and the outside', { skip }, () => {
  test('they dial what was asked for and no more, within a rate that is counted and held', async () => {
    const zone = { 'api.allowed.test': ['203.0.113.10'], 'evil.test': ['203.0.113.66'] }
    await using world = await createOutsideWorld(['203.0.113.10', '203.0.113.66'], zone)
    await using bench = new Workbench()
    bench.write({ 'app.ts': appFile, 'idle/empty': '' })
    mkdirSync(join(bench.dir, 's'))
    writeFileSync(join(bench.dir, 's', 'node.json'), JSON.stringify({ network: '100Mbit/s' }))
    const running = world.enter(() => bench.up('--port', '0'))
    await running.until(/quiet runs, after/)
    const job = (...words: string[]): Promise<Result> => bench.stead('job', ...words)
    const allowed = ['--cpu', '0', '--egress', `api.allowed.test:${worldPort}`]
    const fetch = (words: readonly string[], host: string): Promise<Result> =>
      job('run', ...words, '--', 'python3', '-c', fetching(host))

    assert.equal((await fetch(allowed, 'api.allowed.test')).stdout, 'served by 203.0.113.10\n')
    assert.match((await fetch(allowed, 'evil.test')).stdout, /^refused/)
    assert.match((await fetch(['--cpu', '0'], 'api.allowed.test')).stdout, /^refused/)
    for (const how of [[], ['--share-sandbox']]) {
      const array = await job('array', '1-3', ...allowed, ...how, '--', 'python3', '-c', fetching('api.allowed.test'))
      assert.equal((await job('wait', array.stdout.trim())).code, 0, array.stderr)
      for (const index of [1, 2, 3])
        assert.equal((await job('logs', `${array.stdout.trim()}/${index}`)).stdout, 'served by 203.0.113.10\n')
    }
    assert.deepEqual([...new Set(world.reached)], ['203.0.113.10'])

    // Without sandboxes there is no rule, without a rule no rate, and what is no address is none.
    assert.match((await job('submit', ...allowed, '--isolation', 'none', '--', 'true')).stderr, /is for sandboxes/)
    assert.match((await job('submit', '--network', '2Mbit/s', '--', 'true')).stderr, /may dial nothing there/)
    assert.match((await job('submit', '--egress', 'nonsense', '--', 'true')).stderr, /must be host:port/)
    assert.equal((await job('submit', ...allowed, '--network', 'fast', '--', 'true')).code, 2)

    const rates = async (): Promise<string[]> => {
      const found = sleepers().map((pid) => {
        const words = [`--net=/proc/${pid}/ns/net`, 'tc', 'qdisc', 'show', 'dev', 'outside']
        return /tbf .*rate (\S+)/.exec(spawnSync('nsenter', words, { encoding: 'utf8' }).stdout)?.[1] ?? 'none'
      })
      return [...new Set(found)]
    }
    const sleeping = [...allowed, '--network', '2Mbit/s', '--', 'sleep', String(marked)]
    const two = (await job('array', '1-2', ...sleeping)).stdout.trim()
    // The tasks of a job share its network, so what is held there is the rate of both.
    await eventually('both are held', rates, (found) => found.join() === '4Mbit')
    assert.equal((await job('cancel', `${two}/1`)).code, 0)
    await eventually('the other is held', rates, (found) => found.join() === '2Mbit')

    // The owner says 100, of which 5 are nobody's, and 2 are taken.
    const large = await job('submit', ...allowed, '--network', '94Mbit/s', '--', 'true')
    assert.equal(large.code, 0, large.stderr)
    assert.match((await job('why', large.stdout.trim())).stdout, /network/)
    const never = await job('submit', ...allowed, '--network', '96Mbit/s', '--', 'true')
    assert.match(never.stderr, /needs 96 Mbit\/s network/)
    // It outlives the platform: its link is made anew, with its rule and its rate.
    await running.stop('SIGKILL')
    const again = world.enter(() => bench.up('--port', '0'))
    await again.until(/quiet runs/)
    await eventually('it is held again', rates, (found) => found.join() === '2Mbit')
    assert.equal((await job('cancel', two)).code, 0)
    assert.equal((await job('wait', large.stdout.trim())).code, 0)
  })
})
