/** Jobs that are submitted, through the real command line: what they print, how they end, that they outlive the platform. */
import assert from 'node:assert/strict'
import { chownSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import type { JobView, TaskView } from '../src/batch/index.ts'
import { eventually } from './command-line.ts'
import { DaemonBench } from './daemon-bench.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'

type Shown = JobView & { readonly each: readonly TaskView[] }

/** Who owns what jobs write here. */
const owner = 1_850_000_002

/** Finds the others by what it was told: the first listens, the rest say who they are. */
const meeting = `
import os, socket
rank, size = int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])
address = (os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT']))
if rank == 0:
    server = socket.create_server(address)
    came = sorted(int(server.accept()[0].recv(10)) for _ in range(size - 1))
    print('met', came, open(os.environ['STEAD_HOSTS']).read().strip())
else:
    import time
    for _ in range(200):
        try:
            socket.create_connection(address).sendall(str(rank).encode())
            break
        except OSError:
            time.sleep(0.05)
`

suite('submitted jobs', { skip: needsAll(needsRoot(), needsFile('/usr/bin/bwrap', 'install bubblewrap')) }, () => {
  test('run to their end in sandboxes, and outlive the platform', async (t) => {
    await using daemon = await DaemonBench.start()
    const { bench } = daemon
    const job = (...args: string[]): ReturnType<typeof bench.stead> => bench.stead('job', ...args)
    const shown = async (id: string): Promise<Shown> => JSON.parse((await job('ls', id, '--json')).stdout) as Shown
    const submitted = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await job(...args)
      assert.equal(code, 0, stderr)
      return stdout.trim()
    }

    /** A directory in which a job waits until it may go on. */
    const gate = (): { dir: string; wait: string; go: () => void } => {
      const dir = mkdtempSync(join(bench.dir, 'gate-'))
      chownSync(dir, owner, owner)
      const wait = 'while [ ! -e go ]; do sleep 0.1; done'
      return { dir, wait, go: () => writeFileSync(join(dir, 'go'), '') }
    }

    await t.test('run shows what it prints and ends with its exit code', async () => {
      const found = await job(
        'run',
        '--cpu',
        '0',
        '--',
        'sh',
        '-c',
        'id -un; ls /root /home; cat /proc/net/dev | wc -l; exit 7',
      )
      assert.equal(found.code, 7, found.stderr)
      assert.match(found.stdout, /^app\n/)
      assert.match(found.stdout, /cannot access '\/root'/)
      assert.match(found.stderr, /ended with code 7/)
    })

    await t.test('a limit is held, and what was beyond it is said', async () => {
      const hog = `a=$(head -c 200000000 /dev/zero | tr '\\0' x); echo never`
      const found = await job('run', '--memory', '32MiB', '--', 'sh', '-c', hog)
      assert.notEqual(found.code, 0)
      assert.match(found.stderr, /memory/)
    })

    await t.test('what is impossible is refused with the reason; what is wrong in the words too', async () => {
      const large = await job('submit', '--cpu', '4000', '--', 'true')
      assert.equal(large.code, 1)
      assert.match(large.stderr, /needs 4000 cores/)
      assert.equal((await job('submit', '--time', 'soon', '--', 'true')).code, 2)
      assert.equal((await job('submit')).code, 2)
      assert.match((await job('why', '999')).stderr, /there is no job 999/)
    })

    await t.test('what waits for another says so; an array runs as its bound says', async () => {
      const open = gate()
      const first = await submitted('submit', '--write', open.dir, '--', 'sh', '-c', open.wait)
      const after = await submitted('submit', '--after', first, '--', 'true')
      assert.match((await job('why', after)).stdout, new RegExp(`waits until job '${first}' has ended well`))
      open.go()
      const array = await submitted('array', '1-4%2', '--cpu', '0', '--', 'sh', '-c', 'echo task $STEAD_TASK')
      const waited = await job('wait', first, after, array)
      assert.equal(waited.code, 0, waited.stderr)
      assert.deepEqual(
        (await shown(array)).each.map(({ index, phase }) => [index, phase]),
        [1, 2, 3, 4].map((index) => [index, 'succeeded']),
      )
      assert.equal((await job('logs', `${array}/3`)).stdout, 'task 3\n')
    })

    await t.test(
      'the tasks of a gang find one another',
      { skip: needsFile('/usr/bin/python3', 'install python3') },
      async () => {
        const found = await job('run', '--tasks', '3', '--cpu', '0', '--', 'python3', '-c', meeting)
        assert.equal(found.code, 0, found.stderr)
        assert.match(found.stdout, /^0\| met \[1, 2\] 127\.0\.0\.1 slots=3$/m)
      },
    )

    await t.test('scripts as people have them for Slurm, and the example', async () => {
      bench.useExample('batch')
      for (const path of ['', ...readdirSync(bench.appDir)]) chownSync(join(bench.appDir, path), owner, owner)
      const array = await submitted('submit', 'count.sh')
      const sum = await submitted('submit', 'sum.sh', '--after', array)
      const waited = await job('wait', array, sum)
      assert.equal(waited.code, 0, waited.stderr)
      assert.equal((await job('logs', sum)).stdout, '8 words\n')
      assert.equal(readFileSync(join(bench.appDir, 'count-1.txt'), 'utf8').trim(), '3')
      bench.write({ 'bad.sh': '#!/bin/sh\n#SBATCH --mail-type=END\ntrue\n' })
      const refused = await job('submit', 'bad.sh')
      assert.equal(refused.code, 1)
      assert.match(refused.stderr, /line 2: --mail-type=END is not supported/)
    })

    await t.test('the words of sbatch, and its answers', async () => {
      const sbatch = (...args: string[]): ReturnType<typeof bench.stead> => bench.stead('sbatch', ...args)
      const array = await sbatch('--parsable', '--array=1-2', '--mem=64M', '-t', '5', 'count.sh')
      assert.match(array.stdout, /^\d+\n$/, array.stderr)
      const after = `--dependency=afterok:${array.stdout.trim()}`
      const wrapped = await sbatch(after, '-W', '--mem=64M', '--wrap', 'echo "$SLURM_JOB_NAME"; exit 4')
      assert.equal(wrapped.code, 4, wrapped.stderr)
      const id = /^Submitted batch job (\d+)\n$/.exec(wrapped.stdout)?.[1] ?? ''
      assert.equal((await job('logs', id)).stdout, 'wrap\n')
      assert.equal((await shown(array.stdout.trim())).count, 2)
      const unknown = await sbatch('--qos=long', 'count.sh')
      assert.deepEqual([unknown.code, unknown.stdout], [1, ''])
      assert.match(unknown.stderr, /--qos=long is not supported: there are queues instead/)
      assert.equal((await sbatch('--wrap', 'true', 'count.sh')).code, 2)
      const long = await job('submit', '--array=1-2', 'count.sh')
      assert.equal(long.code, 2)
      assert.match(long.stderr, /has no option --array\n +`stead help job` shows/)
    })

    await t.test('tasks that share sandboxes, and tasks without', async () => {
      for (const how of [['--share-sandbox'], ['--isolation', 'none']]) {
        const array = await submitted(
          'array',
          '1-6%2',
          '--cpu',
          '0',
          ...how,
          '--',
          'sh',
          '-c',
          'echo $STEAD_TASK; exit $((STEAD_TASK / 6))',
        )
        assert.equal((await job('wait', array)).code, 1)
        assert.deepEqual(
          (await shown(array)).each.map(({ phase }) => phase),
          [...Array.from({ length: 5 }, () => 'succeeded'), 'failed'],
        )
        assert.equal((await job('logs', `${array}/4`)).stdout, '4\n')
      }
    })

    await t.test('labels choose the node; a node that is closed says who closed it, and opens again', async () => {
      writeFileSync(join(bench.dir, 's', 'node.json'), JSON.stringify({ labels: { disk: 'nvme', avx512: '' } }))
      await eventually(
        'the labels are known',
        () => job('node', '--json'),
        ({ stdout }) => stdout.includes('"avx512"'),
      )
      assert.match((await job('node')).stdout, /disk=nvme, avx512/)
      const on = ['--cpu', '0', '--selector', 'disk=ssd,nvme', '--selector', '!tape', '--selector', 'avx512']
      assert.equal((await job('run', ...on, '--', 'true')).code, 0)
      const other = await job('submit', '--selector', 'disk!=nvme', '--', 'true')
      assert.match(other.stderr, /no node has what it asks for: a label disk other than nvme, or none/)
      assert.equal((await job('submit', '--selector', '!disk=nvme', '--', 'true')).code, 2)
      assert.match((await job('submit', '--one-per-node', '--', 'true')).stderr, /an array, or a gang/)

      const long = await submitted('submit', '--cpu', '0', '--', 'sleep', '600')
      assert.match((await job('node', 'local', 'cordon')).stdout, /cordoned by owner/)
      const waiting = await submitted('submit', '--cpu', '0', '--', 'true')
      const why = await job('why', waiting)
      assert.match(why.stdout, /node local, the only one, was cordoned by owner at 20/)
      assert.match(why.stdout, /stead job node local open/)
      assert.equal((await shown(long)).phase, 'running')
      assert.equal((await job('node', 'local', 'drain')).code, 0)
      await eventually(
        'it was put back',
        () => shown(long),
        ({ phase }) => phase === 'waiting',
      )
      assert.match((await job('node', 'nowhere', 'open')).stderr, /there is no node called nowhere/)
      assert.equal((await job('node', 'local', 'close')).code, 2)
      assert.equal((await job('node', 'local', 'open')).code, 0)
      assert.equal((await job('wait', waiting)).code, 0)
      assert.equal((await job('cancel', long)).code, 0)
    })

    await t.test('times that are kept free, and limits of accounts', async () => {
      const made = await job('reserve', 'upkeep', '--from', '2h', '--until', '3h')
      assert.match(made.stdout, /^upkeep .* local +by owner$/m)
      const waiting = await submitted('submit', '--cpu', '0', '--', 'true')
      const why = await job('why', waiting)
      assert.match(
        why.stdout,
        /node local, the only one, is reserved for 'upkeep' from 20.*Z on\.\n +set a time limit that ends before/,
      )
      assert.equal((await job('run', '--cpu', '0', '--time', '1h', '--', 'true')).code, 0)
      assert.match((await job('submit', '--reservation', 'nosuch', '--', 'true')).stderr, /there is no reservation/)
      assert.match(
        (await job('reserve', 'upkeep', '--until', '3h')).stderr,
        /there is a reservation called 'upkeep' already/,
      )
      for (const until of [[], ['--until', 'soon'], ['--until', '2020-01-01']])
        assert.equal((await job('reserve', 'more', ...until)).code, 2)
      assert.equal((await job('release', 'upkeep')).code, 0)
      assert.equal((await job('wait', waiting)).code, 0)
      assert.equal((await job('reserve')).stdout, 'No node is reserved.\n')

      const set = await job('account', 'lab', '--cpu', '1', '--tasks', '1', '--weight', '2')
      assert.match(set.stdout, /^lab +2 +1 +- +- +1$/m)
      const refused = await job('submit', '--account', 'lab', '--cpu', '2', '--', 'true')
      assert.match(refused.stderr, /needs 2 cores at once, and the quota of 'lab' is 1 core/)
      const first = await submitted('submit', '--account', 'lab', '--cpu', '0', '--', 'sleep', '600')
      const second = await submitted('submit', '--account', 'lab', '--cpu', '0', '--', 'true')
      assert.match((await job('why', second)).stdout, /account 'lab' holds 1 tasks? of the 1 tasks? in its quota/)
      assert.equal((await job('cancel', first)).code, 0)
      assert.equal((await job('wait', second)).code, 0)
      assert.equal((await job('account', 'lab', '--weight', 'x')).code, 1)
    })

    await t.test('cancel, time limit, retries', async () => {
      const long = await submitted('submit', '--cpu', '0', '--', 'sleep', '600')
      const short = await submitted('submit', '--cpu', '0', '--time', '1s', '--', 'sleep', '600')
      const failing = await submitted('submit', '--cpu', '0', '--retries', '1', '--', 'sh', '-c', 'exit $STEAD_ATTEMPT')
      await eventually(
        'it runs',
        () => shown(long),
        ({ phase }) => phase === 'running',
      )
      assert.equal((await job('cancel', long)).code, 0)
      assert.equal((await job('wait', long)).code, 143)
      assert.equal((await shown(long)).phase, 'cancelled')
      assert.equal((await job('wait', short)).code, 143)
      assert.equal((await shown(short)).phase, 'timed-out')
      assert.equal((await job('wait', failing)).code, 2)
    })

    await t.test('a job that runs outlives control and agent, killed; its exit is kept', async () => {
      const open = gate()
      const one = await submitted('submit', '--write', open.dir, '--', 'sh', '-c', `${open.wait}; echo still; exit 5`)
      await eventually(
        'it runs',
        () => shown(one),
        ({ phase }) => phase === 'running',
      )
      await daemon.kill('agent')
      await daemon.kill('control')
      open.go()
      const waited = await eventually(
        'the platform answers',
        () => job('wait', one),
        ({ code }) => code === 5,
      )
      assert.equal(waited.code, 5, waited.stderr)
      assert.equal((await shown(one)).each[0]?.attempt, 1, 'it was not started again')
      assert.equal((await job('logs', one)).stdout, 'still\n')
      const { usage } = JSON.parse((await job('usage', '--json')).stdout) as {
        usage: { account: string; tasks: number }[]
      }
      assert.ok((usage.find(({ account }) => account === 'owner')?.tasks ?? 0) > 8)
    })
  })
})
