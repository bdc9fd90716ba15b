/**
 * The page on jobs: each of its command lines, and each option that it names, runs as it stands on the page, on a platform where the
 * numbers that it names are those of jobs. A line that is new on the page fails this until it is said here what it must do.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { eventually, type Result } from './command-line.ts'
import { DaemonBench } from './daemon-bench.ts'
import { needsAll, needsDeadlines, needsFile, needsRoot } from './needs.ts'

const page = readFileSync(join(import.meta.dirname, '../docs/howto/run-jobs.md'), 'utf8')

/** Whole lines of blocks, without what stands behind them; and what stands in the text as a command. */
const lines = new Set([
  ...[...page.matchAll(/```sh\n(.*?)```/gs)].flatMap(([, block = '']) =>
    block.split('\n').flatMap((line) => (line === '' ? [] : [line.replace(/ {2,}# .*/, '')])),
  ),
  ...[...page.matchAll(/`(stead [^`]+)`/g)].map(([, line = '']) => line),
])
/** Options that the page names by themselves, in our column of the table and in the text. */
const options = new Set(
  page
    .split('\n')
    .map((line) => (line.startsWith('|') ? (line.split(' | ').at(-1) ?? '') : line))
    .flatMap((line) => [...line.matchAll(/`(--[a-z][^`]*)`/g)].map(([, option = '']) => option)),
)

/** What each line does. `stdout`: what it prints. `code`: 0 where it is not said. `as`: the line with real words for its examples. */
interface Expected {
  readonly stdout?: RegExp
  readonly code?: number
  readonly as?: string
  /** It stands in a script. */
  readonly script?: true
  /** Why it does not run here. */
  readonly elsewhere?: string
}

const number = /^\d+\n$/
const expected: Readonly<Record<string, Expected>> = {
  "stead job run -- python3 -c 'print(6 * 7)'": { stdout: /^42\n$/ },
  'stead job submit --read . --cpu 2 --memory 4GiB --time 1h -- ./simulate 7': { stdout: number },
  "stead job array 1-100%8 --read data -- sh -c 'wc -l $STEAD_TASK.csv'": { stdout: number },
  'stead job submit train.sh': { stdout: number },
  'stead job why 12': { stdout: /waits until job '7' has ended well\./ },
  'stead job submit --write . --time 1h --warn USR1@120s --requeue -- ./train --resume': { stdout: number },
  'stead job run -- program': { as: 'stead job run -- true' },
  'stead job submit script.sh': { stdout: number },
  'stead sbatch -t 5 --array=0-99%8 script.sh': { stdout: /^Submitted batch job \d+\n$/ },
  "stead sbatch --wrap 'command'": { stdout: /^Submitted batch job \d+\n$/ },
  'stead sbatch -W script.sh': { stdout: /^Submitted batch job \d+\n$/ },
  'stead sbatch': { elsewhere: 'it is a name here' },
  "stead job submit -- sh -c 'command'": { stdout: number },
  'stead job array 0-99%8 -- program': { as: 'stead job array 0-99%8 --cpu 0 -- true', stdout: number },
  'stead job wait JOB': { as: 'stead job wait 1' },
  'stead job run --tasks 4 -- program': { as: 'stead job run --tasks 4 --cpu 0 -- true' },
  'stead job ls': { stdout: /^ *7 /m },
  'stead job ls 7': { stdout: /^7 held/ },
  'stead job ls --all': { stdout: /succeeded/ },
  'stead job why 7': { stdout: /runs on local/ },
  'stead job logs 7': { stdout: /begun/ },
  'stead job cancel 7/3': {},
  'stead job cancel 7': {},
  'stead job usage': { stdout: /local/ },
  'stead job node': { stdout: /local/ },
  'stead job reserve upkeep --from 2h --until 4h': { stdout: /^upkeep/m },
  'stead job release upkeep': {},
  'stead job account lab --cpu 16 --weight 2': { stdout: /^lab +2 +16/m },
  'stead job account': { stdout: /lab/ },
  'stead job node local cordon': { stdout: /cordoned by/ },
  'stead job node local open': { stdout: /here$/m },
  'stead job node local drain': { elsewhere: 'in jobs.test.ts: it would put back what runs here' },
  'stead job queue long --priority=-5 --time 24h': {},
  'stead job ls --on ssh://HOST': { elsewhere: 'over the real OpenSSH, in deploy.long.test.ts' },
  'stead audit': { stdout: /POST \/v1\/batch\/jobs/ },
  'stead serve': { elsewhere: 'it is what runs here' },
  'stead up': { elsewhere: 'every test of an app begins with it' },
}

/** How an option is put into a line; what is not here is one for `stead job submit ... -- true`. */
const expectedOptions: Readonly<Record<string, Expected>> = {
  '--read PATH': { as: '--read data' },
  '--write PATH': { as: '--write .' },
  '--on': { elsewhere: 'in deploy.long.test.ts' },
  '--cpu N': { as: '--cpu 1' },
  '--tasks N': { as: '--tasks 2 --cpu 0' },
  '--output': { as: '--write . --output said-%j.txt' },
  '--read': { as: '--read .' },
  '--write': { as: '--write .' },
  '--retries': { as: '--retries 1' },
  '--time': { as: '--time 1m' },
  '--egress api.example.org:443': { as: '--egress api.example.org:443' },
  '--egress HOST:PORT': { as: '--egress api.example.org:443' },
  '--egress': { as: '--egress 10.0.0.0/8:5432' },
  '--network 20Mbit/s': { as: '--egress api.example.org:443 --network 20Mbit/s' },
  '--ntasks=4 --cpus-per-task=2': { script: true },
  '--export=SEED,HOME': { script: true },
  '--mem': { as: '--mem=64M', script: true },
  '--cpu-time 1ms/5ms': needsDeadlines() === false ? {} : { elsewhere: 'this kernel reserves no time' },
  '--selector disk=nvme': { as: "--selector '!tape'" },
  '--selector': { as: "--selector '!tape'" },
  '--reservation upkeep': {
    as: '--reservation upkeep',
    elsewhere: 'in jobs.test.ts: it would wait until the reservation begins',
  },
  '--one-per-node': { as: '--tasks 1 --one-per-node' },
  '--wrap': { elsewhere: 'of sbatch, above' },
  '--parsable': { elsewhere: 'of sbatch, in jobs.test.ts' },
  '--wait': { elsewhere: 'of sbatch, in jobs.test.ts' },
  '--preempts': { elsewhere: 'of a queue, below' },
}

suite('the page on jobs', { skip: needsAll(needsRoot(), needsFile('/usr/bin/bwrap', 'install bubblewrap')) }, () => {
  test('each of its lines runs, and does what it says', async (t) => {
    await using daemon = await DaemonBench.start()
    const { bench } = daemon
    const owner = 1_850_000_004
    const data = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`data/${index + 1}.csv`, 'a,b\n1,2\n']))
    const script = '#!/bin/sh\n#SBATCH --time=5 --mem=64M\necho "$SLURM_JOB_ID"\n'
    bench.write({ ...data, 'train.sh': script, 'script.sh': script, simulate: '#!/bin/sh\n', train: '#!/bin/sh\n' })
    for (const name of ['simulate', 'train']) chmodSync(join(bench.appDir, name), 0o755)
    for (const name of ['', 'data', ...Object.keys(data), 'train.sh', 'script.sh'])
      chownSync(join(bench.appDir, name), owner, owner)
    const bin = join(bench.dir, 'bin')
    mkdirSync(bin)
    const words = bench.command([]).map((word) => `'${word}'`)
    writeFileSync(join(bin, 'stead'), `#!/bin/sh\nexec ${words.join(' ')} "$@"\n`, { mode: 0o755 })
    const env = { ...bench.env, PATH: `${bin}:${process.env['PATH'] ?? ''}`, SEED: '7' }
    const shell = (line: string): Promise<Result> =>
      new Promise((resolve) => {
        execFile('/bin/sh', ['-c', line], { cwd: bench.appDir, env, timeout: 120_000 }, (error, stdout, stderr) =>
          resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, stdout, stderr }),
        )
      })
    const run = async (line: string, { as = line, code = 0, stdout = /(?:)/ }: Expected): Promise<void> => {
      const found = await shell(as)
      assert.equal(found.code, code, `${as}: ${found.stdout}${found.stderr}`)
      assert.match(found.stdout, stdout, as)
    }
    // GPUs and licences as the owner of a node declares them: any files can stand for devices.
    const devices = ['/dev/fuse', '/dev/full'].filter((path) => existsSync(path))
    const node = {
      gpus: { model: 't4', count: 2, devices: [devices[0], devices.at(-1)] },
      counted: { matlab: 3 },
      network: '100Mbit/s',
    }
    writeFileSync(join(bench.dir, 's', 'node.json'), JSON.stringify(node))
    await eventually(
      'the node file is taken up',
      () => shell('stead job usage --json'),
      ({ stdout }) => stdout.includes('t4'),
    )

    await t.test('nothing on it is unknown here, and nothing here is gone from it', () => {
      assert.deepEqual([...lines].toSorted(), Object.keys(expected).toSorted())
      for (const option of Object.keys(expectedOptions)) assert.ok(options.has(option), `${option} is not on the page`)
    })

    await t.test('its lines', async () => {
      for (let id = 1; id < 7; id++) await run('stead job submit -- true', { stdout: new RegExp(`^${id}\n$`) })
      await run('job 7', {
        as: "stead job array 1-4 --name held --cpu 0 -- sh -c 'echo begun; sleep 600'",
        stdout: /^7\n$/,
      })
      await eventually(
        'job 7 has begun',
        () => shell('stead job logs 7'),
        ({ stdout }) => stdout.split('begun').length === 5,
      )
      for (let id = 8; id < 12; id++) await run('stead job submit -- true', { stdout: number })
      await run('job 12', { as: 'stead job submit --after 7 -- true', stdout: /^12\n$/ })
      for (const [line, what] of Object.entries(expected)) if (what.elsewhere === undefined) await run(line, what)
      const queues = await shell('stead job queue')
      assert.match(queues.stdout, /long +-5/)
      await run('stead job queue urgent --priority 5 --preempts', {})
    })

    await t.test('its options', async () => {
      // What it names for others to wait for is a job.
      const ids: string[] = []
      for (const option of options) {
        const { as = option, elsewhere, script: inScript = false } = expectedOptions[option] ?? {}
        if (elsewhere !== undefined) continue
        if (inScript) bench.write({ 'option.sh': `#!/bin/sh\n#SBATCH --mem=64M ${as}\ntrue\n` })
        const { code, stdout, stderr } = await shell(`stead job submit ${inScript ? 'option.sh' : `${as} -- true`}`)
        if (stderr.includes('it needs 8 cores')) continue
        assert.equal(code, 0, `${option}: ${stderr}`)
        ids.push(stdout.trim())
      }
      assert.ok(ids.length > 15, `only ${ids.length} options were found`)
      for (const word of ['end:7', 'start:7']) {
        assert.ok(page.includes(`\`${word}\``))
        await run(word, { as: `stead job submit --after ${word} -- true`, stdout: number })
      }
    })
  })
})
