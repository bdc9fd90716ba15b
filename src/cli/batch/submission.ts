/** From the words of `stead job` to what is submitted. Invariant: what is not said is as `submissionDefaults` has it, and nothing else. */
import { realpathSync } from 'node:fs'
import { resolve } from 'node:path'
import { type ArrayRange, type Submission, submissionDefaults, warningSignals } from '../../batch/index.ts'
import { type Input, type Option, usage } from '../command.ts'
import { readBytes, readCores, readDuration, readRate } from './units.ts'

export const submissionOptions: Readonly<Record<string, Option>> = {
  name: { type: 'string' },
  cpu: { type: 'string' },
  memory: { type: 'string' },
  gpu: { type: 'string' },
  'gpu-model': { type: 'string' },
  'cpu-time': { type: 'string' },
  policy: { type: 'string' },
  'best-effort': { type: 'boolean' },
  need: { type: 'string', multiple: true },
  selector: { type: 'string', multiple: true },
  'one-per-node': { type: 'boolean' },
  reservation: { type: 'string' },
  egress: { type: 'string', multiple: true },
  network: { type: 'string' },
  pids: { type: 'string' },
  time: { type: 'string' },
  warn: { type: 'string' },
  priority: { type: 'string' },
  queue: { type: 'string' },
  account: { type: 'string' },
  for: { type: 'string' },
  after: { type: 'string', multiple: true },
  retries: { type: 'string' },
  requeue: { type: 'boolean' },
  tasks: { type: 'string' },
  read: { type: 'string', multiple: true },
  write: { type: 'string', multiple: true },
  chdir: { type: 'string' },
  env: { type: 'string', multiple: true },
  output: { type: 'string' },
  isolation: { type: 'string' },
  'share-sandbox': { type: 'boolean' },
}

export const submissionHelp = `  --name NAME         what to call it (default: the program)
  --cpu N             cores, which are also its limit (default 1; 0: what is left over, without a limit)
  --memory N          such as 512MiB, also its limit (default 256MiB)     --pids N    processes at once (default 256)
  --best-effort       its cores are what nobody else wants, and more of them where there are
  --cpu-time R/P[/D]  reserves R of one core in every P, done within D, such as 1ms/5ms: for its first thread, by deadline;
                      --policy fifo: for all its threads, first in first out. Only where \`stead doctor\` has it
  --gpu N             whole GPUs; 0.25: a share of one (counted, not held)  --gpu-model A,B  models that will do
  --need NAME[=N]     a licence, a slot: whatever the nodes' owners have declared
  --selector LABEL[=V,W]   only nodes with that label (and one of these values); !=V: another value; !LABEL: without it. May be given again
  --one-per-node      no two of its tasks on one node                     --reservation NAME   in a time that is kept free for it
  --egress HOST:PORT  an address outside that it may dial; may be given again    --network RATE    guaranteed there, and no more: 20Mbit/s
  --time T            it is ended after 90s, 30m, 2h, 1d                  --warn SIGNAL@T  a signal so long before that
  --tasks N           a gang: N tasks that start together or not at all and find one another (RANK, MASTER_ADDR...)
  --after [WHEN:]JOB  once that has ended well; WHEN: success, failure, end, start. May be given again
  --retries N         a task that fails is started again so often
  --requeue           exit code 75 puts it back into the queue: it has written a checkpoint and wants to go on later
  --priority N        -1000 to 1000, within its --queue NAME (default: default)
  --account NAME      whose share it uses (default: yours)                --for APP   for accounting
  --read PATH, --write PATH   files and directories of the node that it sees, and may change; else it sees none
  --chdir DIR         where it starts (default: the first of these that is a directory, else /tmp)
  --env NAME[=VALUE]  a variable; without a value, as it is here
  --output FILE       its output goes there (%j: the job, %a: the task); else the platform keeps it: \`stead job logs\`
  --share-sandbox     its tasks may run one after another in one sandbox: faster, and they see what the last one left
  --isolation none    without a sandbox; only for who may do everything`

/** What the options say of a job whose program is `argv`. Throws `cli.usage`. */
export function submissionOf(input: Input, argv: readonly string[], base: Partial<Submission> = {}): Submission {
  const pathOf = input.text('on') === null ? pathHere : pathThere
  const reads = input.texts('read').map(pathOf)
  const writes = input.texts('write').map(pathOf)
  const before = { ...submissionDefaults, ...base }
  const { needs } = before
  const chdir = input.text('chdir')
  const timeText = input.text('time')
  const tasks = input.number('tasks', 1, 4096)
  const output = input.text('output')
  const cpu = input.text('cpu')
  const memory = input.text('memory')
  const network = input.text('network')
  const egress = [...(before.egress ?? []), ...input.texts('egress')]
  return {
    ...before,
    name: input.text('name') ?? base.name ?? argv[0]?.split('/').at(-1) ?? 'job',
    argv,
    env: { ...before.env, ...environmentOf(input.texts('env')) },
    cwd: chdir === null ? (base.cwd ?? writes[0] ?? reads[0] ?? before.cwd) : pathOf(chdir),
    reads: [...before.reads, ...reads],
    writes: [...before.writes, ...writes],
    isolation: isolationOf(input) ?? before.isolation,
    ...(egress.length === 0 ? {} : { egress }),
    needs: {
      cpu: cpu === null ? needs.cpu : readCores(cpu),
      memoryBytes: memory === null ? needs.memoryBytes : readBytes('memory', memory),
      ...gpusOf(input.text('gpu'), input.text('gpu-model'), needs),
      pidsMax: input.number('pids', 1, 1_000_000) ?? needs.pidsMax,
      ...(network === null ? {} : { networkBits: readRate('network', network) }),
      ...cpuClassOf(input),
      ...countedOf(input.texts('need'), needs.counted),
    },
    ...selectorOf(input.texts('selector'), before.selector),
    ...reservationOf(input.text('reservation') ?? before.reservation),
    ...(input.flag('one-per-node') ? { onePerNode: true } : {}),
    timeLimitMs: timeText === null ? before.timeLimitMs : readDuration('time', timeText),
    warn: warnOf(input.text('warn')) ?? before.warn,
    priority: signed(input.text('priority')) ?? before.priority,
    queue: input.text('queue') ?? before.queue,
    account: input.text('account') ?? before.account,
    app: input.text('for') ?? before.app,
    gang: tasks ?? before.gang,
    after: [...before.after, ...input.texts('after').map(afterOf)],
    retries: input.number('retries', 0, 100) ?? before.retries,
    requeue: input.flag('requeue') || before.requeue,
    output: output === null ? before.output : { out: output, err: null },
  }
}

/** `0-9`, `1,5,7`, `0-100:10`, with `%4` for so many at once. Throws `cli.usage`. */
export function arrayOf(text: string): NonNullable<Submission['array']> {
  const wrong = (): Error =>
    usage(`'${text}' is no range of tasks`, 'As in 0-99, 1,5,7 or 0-100:10, and 0-99%4 for four at once.')
  const [ranges = '', atMost, ...more] = text.split('%')
  if (more.length > 0 || (atMost !== undefined && !/^[1-9]\d{0,6}$/.test(atMost))) throw wrong()
  return {
    ranges: ranges.split(',').map((range): ArrayRange => {
      const match = /^(\d{1,7})(?:-(\d{1,7})(?::([1-9]\d{0,6}))?)?$/.exec(range)
      if (match === null) throw wrong()
      const from = Number(match[1])
      const to = Number(match[2] ?? match[1])
      if (to < from) throw wrong()
      return { from, to, step: Number(match[3] ?? 1) }
    }),
    atMost: atMost === undefined ? null : Number(atMost),
  }
}

type Needs = Submission['needs']

function gpusOf(
  text: string | null,
  models: string | null,
  { gpus, gpuMilli, gpuModels }: Needs,
): Pick<Needs, 'gpus' | 'gpuMilli' | 'gpuModels'> {
  const wanted = models === null ? gpuModels : models.split(',')
  const kept = wanted === undefined ? {} : { gpuModels: wanted }
  if (text === null) return { gpus, ...(gpuMilli === undefined ? {} : { gpuMilli }), ...kept }
  if (/^\d{1,2}$/.test(text) && Number(text) <= 64) return { gpus: Number(text), ...kept }
  if (/^0\.\d{1,3}$/.test(text) && Number(text) > 0)
    return { gpus: 0, gpuMilli: Math.round(Number(text) * 1000), ...kept }
  throw usage(
    `--gpu must be a whole number up to 64, or a share of one, not '${text}'`,
    'As in --gpu 2, or --gpu 0.25 for a quarter of one.',
  )
}

function cpuClassOf(input: Input): Pick<Needs, 'cpuClass'> {
  const text = input.text('cpu-time')
  const policy = input.text('policy') ?? 'deadline'
  const isBestEffort = input.flag('best-effort')
  if (policy !== 'deadline' && policy !== 'fifo')
    throw usage(`--policy must be deadline or fifo, not '${policy}'`, 'By deadline it is by default.')
  if (text === null) {
    if (input.text('policy') !== null)
      throw usage('--policy says how CPU time is reserved, and none is', 'As in --cpu-time 1ms/5ms --policy fifo.')
    return isBestEffort ? { cpuClass: 'best-effort' } : {}
  }
  if (isBestEffort)
    throw usage('what is reserved is not of best effort', 'Leave out one of --cpu-time and --best-effort.')
  const [runtimeUs = 0, periodUs = 0, deadlineUs = periodUs, ...more] = text.split('/').map(readMicroseconds)
  if (periodUs === 0 || more.length > 0)
    throw usage(`--cpu-time must be a runtime and a period, not '${text}'`, 'As in --cpu-time 1ms/5ms.')
  return { cpuClass: { runtimeUs, periodUs, deadlineUs, policy } }
}

/** `500us`, `1ms`, `1s`, in microseconds. */
function readMicroseconds(text: string): number {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(us|ms|s)$/.exec(text)
  const factor = { us: 1, ms: 1000, s: 1_000_000 }[match?.[2] ?? ''] ?? Number.NaN
  const us = Math.round(Number(match?.[1]) * factor)
  if (us > 0) return us
  throw usage(`'${text}' in --cpu-time is no time`, 'As in 500us, 1ms or 1s.')
}

function countedOf(texts: readonly string[], base: Needs['counted'] = {}): Pick<Needs, 'counted'> {
  if (texts.length === 0) return Object.keys(base).length === 0 ? {} : { counted: base }
  const counted = texts.map((text) => {
    const match = /^([A-Za-z0-9][A-Za-z0-9._@:+-]{0,99})(?:=([1-9]\d{0,6}))?$/.exec(text)
    if (match === null) throw usage(`--need must name something countable, not '${text}'`, 'As in --need matlab=2.')
    return [match[1] ?? '', Number(match[2] ?? 1)] as const
  })
  return { counted: { ...base, ...Object.fromEntries(counted) } }
}

function reservationOf(reservation: string | undefined): Pick<Submission, 'reservation'> {
  return reservation === undefined ? {} : { reservation }
}

function selectorOf(texts: readonly string[], base: Submission['selector'] = []): Pick<Submission, 'selector'> {
  if (texts.length + base.length === 0) return {}
  return { selector: [...base, ...texts.map(conditionOf)] }
}

/** `disk=ssd,nvme`, `disk!=hdd`, `disk`, `!disk`. */
function conditionOf(text: string): NonNullable<Submission['selector']>[number] {
  const match = /^(!?)([A-Za-z0-9][A-Za-z0-9._@:+-]{0,99})(?:(!?=)(.*))?$/.exec(text)
  const [, not = '', label = '', sign, values = ''] = match ?? []
  if (match === null || (not !== '' && sign !== undefined))
    throw usage(
      `'${text}' is no condition on a label`,
      'As in --selector disk=nvme,ssd, disk!=hdd, disk (any value) or !disk (nodes without it).',
    )
  if (sign === undefined) return { label, operator: not === '' ? 'exists' : 'not-exists' }
  return { label, operator: sign === '=' ? 'in' : 'not-in', values: values.split(',') }
}

/** A path of this machine as the node has it. */
function pathHere(path: string): string {
  const absolute = resolve(path)
  try {
    return realpathSync(absolute)
  } catch {
    // It may be there on the node.
    return absolute
  }
}

/** A path of a server, which nobody here can complete. */
function pathThere(path: string): string {
  if (path.startsWith('/')) return path
  throw usage(`${path} is no whole path of the server`, 'With --on, paths begin with /.')
}

function isolationOf(input: Input): Submission['isolation'] | null {
  const text = input.text('isolation')
  const shares = input.flag('share-sandbox')
  if (text === 'none' && shares)
    throw usage(
      'without isolation there is no sandbox to share',
      'Leave out one of --isolation none and --share-sandbox.',
    )
  if (text === 'none') return 'none'
  if (text !== null && text !== 'sandbox')
    throw usage(`--isolation must be sandbox or none, not '${text}'`, 'A sandbox is what it has by default.')
  return shares ? 'shared' : text === null ? null : 'own'
}

function warnOf(text: string | null): Submission['warn'] {
  if (text === null) return null
  const [name = '', before = ''] = text.split('@')
  const signal = warningSignals.find((one) => one === name || one === `SIG${name}`)
  if (signal === undefined)
    throw usage(
      `--warn must name a signal and a time, not '${text}'`,
      `As in --warn USR1@60s. Signals: ${warningSignals.join(', ')}.`,
    )
  return { signal, beforeMs: readDuration('warn', before) }
}

function signed(text: string | null): number | null {
  if (text === null) return null
  if (/^-?\d{1,4}$/.test(text)) return Number(text)
  throw usage(`--priority must be a number from -1000 to 1000, not '${text}'`, 'As in --priority=-10')
}

const whens = ['success', 'failure', 'end', 'start'] as const

function afterOf(text: string): Submission['after'][number] {
  const [first = '', second] = text.split(':')
  const [word, id] = second === undefined ? ['success', first] : [first, second]
  const when = whens.find((one) => one === word)
  if (when === undefined || !/^[1-9]\d*$/.test(id))
    throw usage(
      `--after must name a job, not '${text}'`,
      `As in --after 12 or --after end:12. Before it: ${whens.join(', ')}.`,
    )
  return { job: Number(id), when }
}

function environmentOf(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf('=')
      const name = at < 0 ? text : text.slice(0, at)
      const value = at < 0 ? process.env[name] : text.slice(at + 1)
      if (value === undefined) throw usage(`there is no variable ${name} here`, 'Give its value: --env NAME=VALUE.')
      return [name, value] as const
    }),
  )
}
