/**
 * Classes of CPU, GPUs and what a node's owner declares, through the real command line. What is asserted is what the kernel
 * and the platform say, never how fast anything was: how late the example woke is printed, and decides nothing.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { promisify } from 'node:util'
import { eventually } from './command-line.ts'
import { DaemonBench } from './daemon-bench.ts'
import { needsAll, needsDeadlines, needsFile, needsRoot } from './needs.ts'

interface Late {
  readonly policy: string
  readonly periods: number
  readonly p50_us: number
  readonly p99_us: number
  readonly 'p99.9_us': number
}

const skip = needsAll(
  needsRoot(),
  needsFile('/usr/bin/bwrap', 'install bubblewrap'),
  needsFile('/usr/bin/python3', 'install python3'),
  needsDeadlines(),
)

suite('classes of submitted jobs', { skip }, () => {
  test('reserved time, GPUs, and a node that offers something else', async (t) => {
    await using daemon = await DaemonBench.start()
    const { bench } = daemon
    const job = (...args: string[]): ReturnType<typeof bench.stead> => bench.stead('job', ...args)
    const node = async (): Promise<Record<string, unknown>> =>
      (JSON.parse((await job('usage', '--json')).stdout) as { nodes: Record<string, unknown>[] }).nodes[0] ?? {}
    const declare = (text: string): void => writeFileSync(join(bench.dir, 's', 'node.json'), text)

    await t.test('the example beside a hungry job, without and with a reservation', async () => {
      bench.useExample('soft-real-time')
      const env = { ...bench.env, STEAD: bench.command([]).join(' ') }
      const { stdout, stderr } = await promisify(execFile)('sh', ['compare.sh', '1'], { cwd: bench.appDir, env })
      const found = stdout.split('\n').filter((line) => line.startsWith('{'))
      const [without, reserved, squeezed] = found.map((line) => JSON.parse(line) as Late)
      const tick = ['--cpu', '0.25', '--read', bench.appDir, '--', 'python3', 'tick.py', '1']
      const fifo = JSON.parse((await job('run', '--cpu-time', '1ms/5ms', '--policy', 'fifo', ...tick)).stdout) as Late
      const all = { without, reserved, squeezed, fifo }
      assert.deepEqual(
        Object.values(all).map((one) => [one?.policy, one?.periods]),
        ['other', 'deadline', 'other', 'fifo'].map((policy) => [policy, 200]),
        stderr,
      )
      for (const [name, one] of Object.entries(all)) {
        assert.ok(one !== undefined && one.p50_us <= one.p99_us && one.p99_us <= one['p99.9_us'])
        t.diagnostic(`${name}: woke late by ${one.p50_us} / ${one.p99_us} / ${one['p99.9_us']} us (p50 / p99 / p99.9)`)
      }
    })

    await t.test('tasks of an array have their class like any other', async () => {
      const policy = "import os; print(os.sched_getscheduler(0) & 255, os.environ['STEAD_PERIOD_US'])"
      const words = ['--cpu', '0.1', '--cpu-time', '1ms/100ms', '--', 'python3', '-c', policy]
      const array = (await job('array', '1-3', ...words)).stdout.trim()
      assert.equal((await job('wait', array)).code, 0)
      const said = [1, 2, 3].map(async (index) => (await job('logs', `${array}/${index}`)).stdout)
      assert.deepEqual(await Promise.all(said), ['6 100000\n', '6 100000\n', '6 100000\n'])
    })

    await t.test('time is given once: what does not fit waits, also after a restart of control', async () => {
      const reserved = ['--cpu', '0.1', '--cpu-time', '60ms/100ms', '--']
      const first = (await job('submit', ...reserved, 'sleep', '600')).stdout.trim()
      await eventually(
        'it runs',
        async () => JSON.parse((await job('ls', first, '--json')).stdout) as { phase: string },
        ({ phase }) => phase === 'running',
      )
      await daemon.kill('control')
      const second = await eventually(
        'the platform answers',
        () => job('submit', ...reserved, 'true'),
        ({ code }) => code === 0,
      )
      const why = await job('why', second.stdout.trim())
      assert.match(why.stdout, /no core on which the reserved time meets its deadline/)
      assert.equal((await job('cancel', first)).code, 0)
      assert.equal((await job('wait', second.stdout.trim())).code, 0)
    })

    await t.test('GPUs: refused where there are none, then declared in the node file while it runs', async () => {
      const none = await job('run', '--gpu', '1', '--', 'true')
      assert.equal(none.code, 1)
      assert.match(none.stderr, /no node has what it asks for: GPUs/)
      // Any two that a sandbox has not by itself.
      const devices = ['/dev/fuse', '/dev/kvm', '/dev/net/tun', '/dev/loop-control'].filter((path) => existsSync(path))
      devices.splice(2)
      while (devices.length < 2) devices.push('/dev/full')
      declare(
        JSON.stringify({ gpus: { model: 'T4', count: 2, devices }, counted: { licence: 1 }, labels: { rack: 'r1' } }),
      )
      const offered = await eventually('it is taken up', node, ({ gpus }) => gpus !== null)
      assert.deepEqual(offered['gpus'], { model: 'T4', count: 2 })
      const show = ['--', 'sh', '-c', 'echo $CUDA_VISIBLE_DEVICES $STEAD_GPU_SHARE']
      assert.equal((await job('run', '--gpu', '2', ...show)).stdout, '0,1\n')
      assert.equal((await job('run', '--gpu', '0.25', '--gpu-model', 'T4,A100', ...show)).stdout, '0 0.25\n')
      const array = (
        await job('array', '1-2', '--gpu', '1', '--', 'sh', '-c', `ls ${devices.join(' ')}; true`)
      ).stdout.trim()
      assert.equal((await job('wait', array)).code, 0)
      const seen = await Promise.all([1, 2].map(async (index) => (await job('logs', `${array}/${index}`)).stdout))
      for (const device of new Set(devices))
        assert.equal(seen.filter((text) => text.split('\n').includes(device)).length, device === '/dev/full' ? 2 : 1)
      assert.match((await job('run', '--gpu', '1', '--gpu-model', 'A100', ...show)).stderr, /GPU model \(A100\)/)
      assert.match((await job('run', '--gpu', '3', ...show)).stderr, /3 GPUs on one node/)
      assert.equal((await job('run', '--gpu', '1.5', ...show)).code, 2)
      assert.equal((await job('run', '--need', 'licence', '--', 'true')).code, 0)
      assert.match((await job('run', '--need', 'licence=2', '--', 'true')).stderr, /2 licence/)
    })

    await t.test('a file that makes no sense changes nothing, and says why', async () => {
      declare('{ "gpus": { "model": "T4", "count": 0 } }')
      await eventually(
        'it is said',
        async () => daemon.output(),
        (text) => /node\.json is not taken.*gpus\.count/.test(text),
      )
      assert.deepEqual((await node())['gpus'], { model: 'T4', count: 2 })
      declare('{ "gpus": null, "cpu": 1 }')
      await eventually('it is taken up', node, ({ gpus, cpu }) => gpus === null && cpu === 1)
      assert.match((await job('run', '--gpu', '1', '--', 'true')).stderr, /GPUs/)
    })
  })
})
