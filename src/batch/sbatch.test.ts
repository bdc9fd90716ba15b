/** Scripts for Slurm: what is taken, what is refused and where, and that nothing makes the reader fail otherwise. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { isSteadError, seededRandom } from '../base/index.ts'
import { optionsOfWords, readSbatch, type SbatchScript, submissionDefaults, submissionSchema } from './index.ts'

function read(lines: string, args: string[] = []): SbatchScript {
  return readSbatch(`#!/bin/bash\n${lines}\necho done\n`, args, '/home/ann')
}

function refused(lines: string, line: number, says: RegExp): void {
  assert.throws(
    () => read(lines),
    (error) =>
      isSteadError(error) &&
      error.code === 'batch.bad-script' &&
      error.message.startsWith(`line ${line}: `) &&
      says.test(error.message) &&
      error.hint !== undefined,
    lines,
  )
}

suite('a script for Slurm', () => {
  test('kinds of GPUs and licences', () => {
    const needs = (line: string): unknown => {
      const { gpus, gpuModels, counted } = read(line).submission.needs ?? submissionDefaults.needs
      return [gpus, gpuModels, counted]
    }
    assert.deepEqual(needs('#SBATCH --gres=gpu:a100:2 -L matlab:3,ansys'), [2, ['a100'], { matlab: 3, ansys: 1 }])
    assert.deepEqual(needs('#SBATCH --gres=gpu:t4'), [1, ['t4'], undefined])
    assert.deepEqual(needs('#SBATCH --gres=gpu:3'), [3, undefined, undefined])
  })

  test('is taken as its lines say', () => {
    const { submission, passes } = read(
      [
        '#SBATCH --job-name=train  # a remark',
        '#SBATCH -n 2 -c 3 --mem-per-cpu=2G',
        '#SBATCH --time 1-02:03:04 --array=0-9:2,20%4',
        '',
        '# a comment',
        '#SBATCH --output="out/%A_%a.log" -e err.log',
        '#SBATCH --dependency=afterok:12:13,afterany:14',
        '#SBATCH --signal=B:USR1@120 --requeue -p long -A lab',
        '#SBATCH --export=NONE,SEED=7,HOME --gres=gpu:1',
        'echo first',
        '#SBATCH --nodes=99',
      ].join('\n'),
      ['one', 'two'],
    )
    assert.deepEqual(submission.argv, ['/bin/bash', '/run/stead/script', 'one', 'two'])
    assert.equal(submission.name, 'train')
    assert.deepEqual(submission.needs, { ...submissionDefaults.needs, cpu: 6, memoryBytes: 12 * 2 ** 30, gpus: 1 })
    assert.equal(submission.timeLimitMs, (86_400 + 2 * 3600 + 3 * 60 + 4) * 1000)
    assert.deepEqual(submission.array, {
      ranges: [
        { from: 0, to: 9, step: 2 },
        { from: 20, to: 20, step: 1 },
      ],
      atMost: 4,
    })
    assert.deepEqual(submission.output, { out: 'out/%A_%a.log', err: 'err.log' })
    assert.deepEqual(submission.after, [
      { job: 12, when: 'success' },
      { job: 13, when: 'success' },
      { job: 14, when: 'end' },
    ])
    assert.deepEqual(submission.warn, { signal: 'SIGUSR1', beforeMs: 120_000 })
    assert.deepEqual([submission.requeue, submission.queue, submission.account], [true, 'long', 'lab'])
    assert.deepEqual(submission.env, { SEED: '7', SLURM_NTASKS: '2', SLURM_NPROCS: '2' })
    assert.deepEqual(passes, ['HOME'])
  })

  test('features are labels that a node must have', () => {
    const { submission } = readSbatch('#!/bin/sh\n#SBATCH -C "nvme&avx512"\n', [], '/')
    assert.deepEqual(submission.selector, [
      { label: 'nvme', operator: 'exists' },
      { label: 'avx512', operator: 'exists' },
    ])
  })

  test('what is said on the command line goes before what the script says, and of several ways the last one counts', () => {
    const words = '-t 5 --array=0-3%2 --dependency=afterok:7 --mem-per-gpu 2G --gpus=t4:2 --wrap=x run.sh --not ours'
    const { options, rest } = optionsOfWords(words.split(' '))
    assert.deepEqual(rest, ['run.sh', '--not', 'ours'])
    const text = [
      '#!/bin/sh',
      '#SBATCH --time=1:00:00 --mem=9G --gres=gpu:a100:4 --dependency=afterany:3 --job-name=kept',
      '',
    ]
    const script = text.join('\n')
    const before = options.filter(({ name }) => name !== 'wrap')
    const { submission } = readSbatch(script, [], '/', before)
    assert.deepEqual(
      [submission.name, submission.timeLimitMs, submission.after, submission.array?.atMost],
      ['kept', 300_000, [{ job: 7, when: 'success' }], 2],
    )
    const { gpus, gpuModels, memoryBytes } = submission.needs ?? submissionDefaults.needs
    assert.deepEqual([gpus, gpuModels, memoryBytes], [2, ['t4'], 4 * 2 ** 30])
    // Refused before the script is looked at: an option that is not known may have taken it for its value.
    const unknown = optionsOfWords(['--nosuch', 'run.sh']).options
    assert.throws(() => readSbatch('', [], '/', unknown), { message: /^--nosuch=run\.sh is not supported/ })
    assert.throws(() => readSbatch(script, [], '/', optionsOfWords(['-t', 'soon']).options), {
      message: /^--time must/,
    })
    assert.deepEqual(optionsOfWords([]).rest, [])
  })

  test('times and amounts are those of sbatch', () => {
    const timeOf = (text: string): unknown => read(`#SBATCH -t ${text}`).submission.timeLimitMs
    const times = ['30', '1:30', '1:00:00', '2-0', '2-12:30', '0-0:0:5', 'UNLIMITED']
    assert.deepEqual(times.map(timeOf), [1_800_000, 90_000, 3_600_000, 172_800_000, 217_800_000, 5000, null])
    const memoryOf = (text: string): unknown => read(`#SBATCH --mem ${text}`).submission.needs?.memoryBytes
    assert.deepEqual(
      ['100', '100M', '2G', '512K', '1GB'].map(memoryOf),
      [100, 100, 2048, 0.5, 1024].map((mb) => mb * 2 ** 20),
    )
  })

  test('what is not supported is refused with its line, its option and what to do', () => {
    refused('#SBATCH --mail-type=END', 2, /--mail-type=END is not supported: no mail/)
    refused('\n#SBATCH -N 4', 3, /--nodes=4 is not supported: a script runs on one node/)
    refused('#SBATCH --exclusive', 2, /--exclusive is not supported/)
    refused('#SBATCH --gres=fpga:1', 2, /--gres=fpga:1/)
    refused('#SBATCH --licenses=a|b', 2, /only names with a count/)
    refused('#SBATCH --constraint=intel|amd', 2, /must have all features/)
    refused('#SBATCH -w n1', 2, /--nodelist=n1 is not supported: nodes are chosen by their labels/)
    refused('#SBATCH --nosuch=1', 2, /--nosuch=1/)
    refused('#SBATCH --array=9-1', 2, /--array must be ranges/)
    refused('#SBATCH --time=soon', 2, /--time must be a time/)
    refused('#SBATCH --mem=0', 2, /--mem must be an amount/)
    refused('#SBATCH --dependency=singleton', 2, /--dependency=singleton/)
    refused('#SBATCH --dependency=afterok:1?afterok:2', 2, /one of them/)
    refused('#SBATCH --output="a', 2, /quote/)
    refused('#SBATCH -J', 2, /-J needs a value/)
    refused('#SBATCH what', 2, /what is no option/)
    refused('#SBATCH --gpus=2:t4', 2, /--gpus must be a number from 1 to 64, or a model and a number/)
    refused('#SBATCH --signal=KILL@10', 2, /--signal must be/)
    refused('#SBATCH -n 2\nsrun ./step', 3, /srun is a command of Slurm/)
    assert.throws(() => readSbatch('echo hello', [], '/'), { code: 'batch.bad-script' })
    assert.throws(() => readSbatch('#!/bin/sh\r\necho hello\r\n', [], '/'), { code: 'batch.bad-script' })
  })

  test('whatever comes is taken, in a form that may be submitted, or refused in words', () => {
    const random = seededRandom(7)
    const pick = <T>(from: readonly T[]): T =>
      from[Math.floor(((random.bytes(1)[0] ?? 0) / 256) * from.length)] ?? (from[0] as T)
    const names = [
      '--time',
      '--mem',
      '-n',
      '-c',
      '--array',
      '--output',
      '-d',
      '--signal',
      '--export',
      '--gres',
      '-J',
      '--nice',
      '--x',
      '-Z',
      '',
    ]
    const values = [
      '1',
      '0',
      '-1',
      '4G',
      '1-2:3',
      '0-9%2',
      '9-',
      'a b',
      '"',
      "'x'",
      '\\',
      'afterok:1',
      'ALL,A=1',
      'gpu:2',
      'USR1@5',
      '%j',
      '#',
      '=',
      '\u0000',
      'é'.repeat(9),
    ]
    let taken = 0
    for (let round = 0; round < 3000; round++) {
      const lines = Array.from({ length: 1 + (round % 4) }, () => {
        const words = Array.from(
          { length: 1 + (round % 3) },
          () => `${pick(names)}${pick(['=', ' ', ''])}${pick(values)}`,
        )
        return `#SBATCH ${words.join(' ')}`
      })
      try {
        const { submission } = read(lines.join('\n'))
        const whole = { ...submissionDefaults, ...submission, writes: [submission.cwd] }
        const found = submissionSchema.safeParse(whole)
        taken += found.success ? 1 : 0
      } catch (error) {
        assert.ok(isSteadError(error) && error.code === 'batch.bad-script', `${lines.join('\n')}: ${String(error)}`)
      }
    }
    assert.ok(taken > 20, `${taken} of 3000 were taken`)
  })
})
