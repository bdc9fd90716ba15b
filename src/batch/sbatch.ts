/**
 * Reads a script for Slurm: its `#SBATCH` lines become a submission. Pure. Invariant: an option either does what its users
 * expect, does nothing that matters, or is refused with its line and name; none is left out in silence.
 */
import { scriptPath } from './environment.ts'
import { scriptBytesMax } from './limits.ts'
import { badScript, optionsOf, type ScriptOption } from './sbatch-words.ts'
import { type ArrayRange, type Submission, submissionDefaults, warningSignals } from './submission.ts'

export interface SbatchScript {
  readonly submission: Partial<Submission> & Pick<Submission, 'argv' | 'name' | 'cwd'>
  /** Variables that the script wants from where it is submitted. */
  readonly passes: readonly string[]
  /** What a person should know of what was made of it. */
  readonly notes: readonly string[]
}

interface Draft {
  name: string | null
  cwd: string | null
  out: string | null
  err: string | null
  array: Submission['array']
  timeLimitMs: number | null
  memory: { readonly per: 'job' | 'cpu' | 'gpu'; readonly bytes: number } | null
  cpusPerTask: number
  tasks: number
  tasksPerNode: number | null
  gpus: Gpus
  licenses: Record<string, number>
  selector: NonNullable<Submission['selector']>[number][]
  queue: string
  account: string | null
  reservation: string | null
  priority: number
  after: Submission['after'][number][]
  warn: { signal: (typeof warningSignals)[number]; beforeMs: number } | null
  requeue: boolean
  env: Record<string, string>
  passes: string[]
  notes: string[]
}

/** Memory of a script that asks for none, for each of its cores. */
const memoryPerCpuDefault = 2 ** 30

interface Gpus {
  readonly per: 'job' | 'task'
  readonly count: number
  readonly model: string | null
}

type Setter = (draft: Draft, value: string, option: ScriptOption) => void

/** `what` the value is not. */
function wrong({ name, value, line }: ScriptOption, what: string): Error {
  return badScript(line, `--${name} must be ${what}, not '${value ?? ''}'`)
}

function refused({ name, value, line }: ScriptOption, why: string, hint?: string): Error {
  return badScript(line, `--${name}${value === null ? '' : `=${value}`} is not supported: ${why}`, hint)
}

function whole(option: ScriptOption, value: string, max: number): number {
  if (!/^\d{1,9}$/.test(value) || Number(value) < 1 || Number(value) > max)
    throw wrong(option, `a number from 1 to ${max}`)
  return Number(value)
}

/** `2`, `t4`, `t4:2`, or nothing for one; null: it is none of these. */
function gpusIn(text: string, per: Gpus['per']): Gpus | null {
  const match = /^(?:([A-Za-z0-9_.-]*[A-Za-z][A-Za-z0-9_.-]*)(?::|$))?(\d{1,2})?$/.exec(text)
  if (match === null || Number(match[2] ?? 1) > 64) return null
  return { per, count: Number(match[2] ?? 1), model: match[1] ?? null }
}

function readGpus(text: string, per: Gpus['per'], option: ScriptOption): Gpus {
  const gpus = text === '' ? null : gpusIn(text, per)
  if (gpus === null || gpus.count === 0)
    throw wrong(option, 'a number from 1 to 64, or a model and a number, as in t4:2')
  return gpus
}

const setters: Readonly<Record<string, Setter>> = {
  'job-name': (draft, value) => (draft.name = value),
  chdir: (draft, value) => (draft.cwd = value),
  output: (draft, value) => (draft.out = value),
  error: (draft, value) => (draft.err = value),
  array: (draft, value, option) => (draft.array = readArray(value, option)),
  time: (draft, value, option) => (draft.timeLimitMs = readTime(value, option)),
  // Of options that say the same in other ways the last one counts.
  mem: (draft, value, option) => (draft.memory = { per: 'job', bytes: readMemory(value, option) }),
  'mem-per-cpu': (draft, value, option) => (draft.memory = { per: 'cpu', bytes: readMemory(value, option) }),
  'mem-per-gpu': (draft, value, option) => (draft.memory = { per: 'gpu', bytes: readMemory(value, option) }),
  'cpus-per-task': (draft, value, option) => (draft.cpusPerTask = whole(option, value, 4096)),
  ntasks: (draft, value, option) => (draft.tasks = whole(option, value, 4096)),
  'ntasks-per-node': (draft, value, option) => (draft.tasksPerNode = whole(option, value, 4096)),
  nodes(_draft, value, option) {
    const [least = ''] = value.split('-')
    if (whole(option, least, 1_000_000) > 1)
      throw refused(
        option,
        'a script runs on one node',
        'For a program that runs on several: stead job submit --tasks N -- PROGRAM',
      )
  },
  gres(draft, value, option) {
    const gpus = /^gpu(?::|$)/.test(value) ? gpusIn(value.slice('gpu:'.length), 'job') : null
    if (gpus === null) throw refused(option, 'only GPUs are known, as gpu:N or gpu:MODEL:N')
    draft.gpus = gpus
  },
  licenses(draft, value, option) {
    draft.licenses = {}
    for (const part of value.split(',')) {
      const match = /^([A-Za-z0-9][A-Za-z0-9_.-]{0,99})(?::([1-9]\d{0,5}))?$/.exec(part)
      if (match === null) throw refused(option, 'only names with a count are known, as matlab:2,ansys')
      draft.licenses[match[1] ?? ''] = Number(match[2] ?? 1)
    }
  },
  constraint(draft, value, option) {
    const features = value.split(/[&,]/)
    if (features.some((feature) => !/^[A-Za-z0-9][A-Za-z0-9._@:+-]{0,99}$/.test(feature)))
      throw refused(
        option,
        'a node must have all features that are named, as in nvme&avx512',
        'More can be said of labels: stead job submit --selector disk=nvme,ssd SCRIPT',
      )
    draft.selector = features.map((label) => ({ label, operator: 'exists' }))
  },
  gpus: (draft, value, option) => (draft.gpus = readGpus(value, 'job', option)),
  'gpus-per-node': (draft, value, option) => (draft.gpus = readGpus(value, 'job', option)),
  'gpus-per-task': (draft, value, option) => (draft.gpus = readGpus(value, 'task', option)),
  partition(draft, value, option) {
    if (value.includes(',')) throw refused(option, 'a job is in one queue')
    draft.queue = value
  },
  account: (draft, value) => (draft.account = value),
  reservation: (draft, value) => (draft.reservation = value),
  priority: (draft, value, option) => (draft.priority = whole(option, value, 1000)),
  nice(draft, value, option) {
    const by = value === '' ? 100 : Number(value)
    if (!Number.isInteger(by) || Math.abs(by) > 1000) throw wrong(option, 'a number from -1000 to 1000')
    draft.priority = -by
  },
  dependency: (draft, value, option) => (draft.after = readDependencies(value, option)),
  signal: (draft, value, option) => (draft.warn = readSignal(value, option)),
  requeue: (draft) => (draft.requeue = true),
  'no-requeue': (draft) => (draft.requeue = false),
  export(draft, value, option) {
    draft.env = {}
    draft.passes = []
    for (const one of value.split(',')) {
      const [name = '', ...rest] = one.split('=')
      if (name === 'ALL' || name === 'NONE' || name === 'NIL') continue
      if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw wrong(option, 'ALL, NONE, or names of variables')
      if (rest.length === 0) draft.passes.push(name)
      else draft.env[name] = rest.join('=')
    }
    if (value.split(',').includes('ALL'))
      draft.notes.push(
        'of the variables here only those are passed that --export or --env names: what is passed is kept with the job',
      )
  },
  'open-mode'(_draft, value, option) {
    if (value !== 'append' && value !== 'truncate') throw wrong(option, 'append or truncate')
    if (value === 'append') throw refused(option, 'the first attempt of a job begins its file anew')
  },
  'kill-on-invalid-dep'(_draft, value, option) {
    if (value !== 'yes') throw refused(option, 'a job that can never start is given up')
  },
}

/** They do nothing here that a script could notice. */
const harmless: ReadonlySet<string> = new Set(
  [
    'comment quiet verbose parsable ignore-pbs hint wckey acctg-freq delay-boot',
    // Of where tasks of one job go among nodes: there is one.
    'distribution contiguous spread-job use-min-nodes no-kill switches prefer',
  ].flatMap((names) => names.split(' ')),
)

const reasons: Readonly<Record<string, string>> = {
  'mail-type': 'no mail is sent; `stead job wait` ends when the job does',
  'mail-user': 'no mail is sent; `stead job wait` ends when the job does',
  exclusive: 'a node is shared, and what a job asked for is its own',
  qos: 'there are queues instead: --partition',
  begin: 'a job is started as soon as it can; a part of an app may have a schedule',
  hold: 'a job is started as soon as it can',
  wait: 'say it on the command line: `stead job wait`',
  nodelist: 'nodes are chosen by their labels, not by name: --constraint',
  exclude: 'nodes are chosen by their labels, not by name: --constraint',
  'test-only': 'a job that could never run is refused when it is submitted',
  wrap: 'a script has its commands in itself',
  input: 'a script reads nothing; give it a file by name',
  'time-min': 'a time limit is one time',
  deadline: 'a job waits as long as it takes; cancel it when it is too late',
  tmp: 'each task has a /tmp of its own, in its memory',
}

/** `cwd`: where it is submitted. `before`: options that go before those of the script. Throws `batch.bad-script`. */
export function readSbatch(
  text: string,
  args: readonly string[],
  cwd: string,
  before: readonly ScriptOption[] = [],
): SbatchScript {
  if (Buffer.byteLength(text) > scriptBytesMax)
    throw badScript(
      1,
      `the script is larger than ${scriptBytesMax} bytes`,
      'Let it call another that lies in its directory.',
    )
  // One that is not known may have taken the script for its value.
  for (const option of before) refuseUnknown(option)
  const draft = fresh()
  for (const option of optionsOf(text).concat(before)) {
    refuseUnknown(option)
    setters[option.name]?.(draft, option.value ?? '', option)
  }
  refuseSteps(text)
  return finished(draft, text, args, cwd)
}

function refuseUnknown(option: ScriptOption): void {
  const { name } = option
  if (setters[name] === undefined && !harmless.has(name))
    throw refused(option, reasons[name] ?? 'nothing here does that')
}

function fresh(): Draft {
  return {
    name: null,
    cwd: null,
    out: null,
    err: null,
    array: null,
    timeLimitMs: null,
    memory: null,
    cpusPerTask: 1,
    tasks: 1,
    tasksPerNode: null,
    gpus: { per: 'job', count: 0, model: null },
    licenses: {},
    selector: [],
    queue: submissionDefaults.queue,
    account: null,
    reservation: null,
    priority: 0,
    after: [],
    warn: null,
    requeue: false,
    env: {},
    passes: [],
    notes: [],
  }
}

/** Slurm's own commands are not there; a script that needs them would fail in the middle. */
function refuseSteps(text: string): void {
  for (const [index, line] of text.split('\n').entries()) {
    const command = /^\s*(?:exec\s+|time\s+)?(srun|scontrol|sbcast|salloc|sbatch|squeue|scancel)\b/.exec(line)?.[1]
    if (command === undefined) continue
    const hints: Readonly<Record<string, string>> = {
      srun: 'The script runs once, with all that it asked for: call the program itself, or mpirun -n $SLURM_NTASKS. Several processes that start together: stead job submit --tasks N -- PROGRAM',
      scontrol: 'To go on later, end with exit code 75 under #SBATCH --requeue.',
    }
    throw badScript(index + 1, `${command} is a command of Slurm, and not there inside`, hints[command])
  }
}

function finished(draft: Draft, text: string, args: readonly string[], cwd: string): SbatchScript {
  const tasks = Math.max(draft.tasks, draft.tasksPerNode ?? 1)
  const cpu = tasks * draft.cpusPerTask
  const gpus = draft.gpus.count * (draft.gpus.per === 'task' ? tasks : 1)
  const { per, bytes } = draft.memory ?? { per: 'cpu', bytes: memoryPerCpuDefault }
  const memoryBytes = bytes * { job: 1, cpu, gpu: Math.max(1, gpus) }[per]
  const { name, out, err, warn, timeLimitMs, notes, array, queue, account, priority, after, requeue, env, passes } =
    draft
  if (draft.memory === null) notes.push(`it asks for no memory and gets ${memoryBytes / 2 ** 30} GiB (--mem)`)
  const [interpreter = '/bin/sh', ...words] = /^#!\s*(\S+)[ \t]*([^\n]*)/.exec(text)?.slice(1) ?? []
  const argument = words[0]?.trim() ?? ''
  const dir = draft.cwd ?? cwd
  return {
    submission: {
      name: name ?? 'script',
      argv: [interpreter, ...(argument === '' ? [] : [argument]), scriptPath, ...args],
      cwd: dir.startsWith('/') ? dir : `${cwd}/${dir}`,
      script: text,
      env: { ...env, ...(tasks === 1 ? {} : { SLURM_NTASKS: String(tasks), SLURM_NPROCS: String(tasks) }) },
      needs: {
        ...submissionDefaults.needs,
        cpu,
        memoryBytes,
        gpus,
        ...(draft.gpus.model === null ? {} : { gpuModels: [draft.gpus.model] }),
        ...(Object.keys(draft.licenses).length === 0 ? {} : { counted: draft.licenses }),
      },
      ...(draft.reservation === null ? {} : { reservation: draft.reservation }),
      ...(draft.selector.length === 0 ? {} : { selector: draft.selector }),
      timeLimitMs,
      warn,
      array,
      queue,
      account,
      priority,
      after,
      requeue,
      output: out === null && err === null ? null : { out: out ?? 'slurm-%j.out', err },
      slurm: true,
    },
    passes,
    notes,
  }
}

function readArray(text: string, option: ScriptOption): NonNullable<Submission['array']> {
  const [ranges = '', atMost] = text.split('%')
  if (atMost !== undefined && !/^[1-9]\d{0,6}$/.test(atMost)) throw wrong(option, 'ranges, as in 0-15%4')
  return {
    ranges: ranges.split(',').map((range): ArrayRange => {
      const match = /^(\d{1,7})(?:-(\d{1,7})(?::([1-9]\d{0,6}))?)?$/.exec(range)
      if (match === null || Number(match[2] ?? match[1]) < Number(match[1])) throw wrong(option, 'ranges, as in 0-15%4')
      return { from: Number(match[1]), to: Number(match[2] ?? match[1]), step: Number(match[3] ?? 1) }
    }),
    atMost: atMost === undefined ? null : Number(atMost),
  }
}

/** Minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes, days-hours:minutes:seconds. */
export function readTime(text: string, option: ScriptOption): number | null {
  if (/^(unlimited|infinite)$/i.test(text) || text === '0') return null
  const match = /^(?:(\d{1,4})-)?(\d{1,6})(?::(\d{1,4}))?(?::(\d{1,4}))?$/.exec(text)
  if (match === null) throw wrong(option, 'a time, as in 30 (minutes), 1:30:00 or 2-12')
  const [days, first = 0, second, third] = match.slice(1).map((part) => (part === undefined ? undefined : Number(part)))
  const seconds =
    days !== undefined
      ? days * 86_400 + first * 3600 + (second ?? 0) * 60 + (third ?? 0)
      : third !== undefined
        ? first * 3600 + (second ?? 0) * 60 + third
        : first * 60 + (second ?? 0)
  if (seconds === 0) return null
  return seconds * 1000
}

function readMemory(text: string, option: ScriptOption): number {
  const match = /^(\d{1,12})([KMGT]?)B?$/i.exec(text)
  const powers: Readonly<Record<string, number>> = { K: 10, '': 20, M: 20, G: 30, T: 40 }
  const power = powers[(match?.[2] ?? '?').toUpperCase()]
  if (match === null || power === undefined || Number(match[1]) === 0)
    throw wrong(option, 'an amount, as in 512 (megabytes) or 4G; all of a node cannot be asked for')
  return Number(match[1]) * 2 ** power
}

const dependencyWords: Readonly<Record<string, Submission['after'][number]['when']>> = {
  after: 'start',
  afterany: 'end',
  afternotok: 'failure',
  afterok: 'success',
}

function readDependencies(text: string, option: ScriptOption): Submission['after'][number][] {
  if (text.includes('?')) throw refused(option, 'a job waits for all that it names, not for one of them')
  return text.split(',').flatMap((part) => {
    const [word = '', ...ids] = part.split(':')
    const when = dependencyWords[word]
    if (when === undefined)
      throw refused(option, `it may be ${Object.keys(dependencyWords).join(', ')}, each with numbers of jobs`)
    if (ids.length === 0 || ids.some((id) => !/^[1-9]\d{0,14}$/.test(id))) throw wrong(option, 'as in afterok:12:13')
    return ids.map((id) => ({ job: Number(id), when }))
  })
}

const signalNumbers: Readonly<Record<string, string>> = {
  '1': 'HUP',
  '2': 'INT',
  '3': 'QUIT',
  '10': 'USR1',
  '12': 'USR2',
  '15': 'TERM',
  '18': 'CONT',
}

function readSignal(text: string, option: ScriptOption): Draft['warn'] {
  const match = /^(?:[RB]+:)?(?:SIG)?([A-Z0-9]+)(?:@(\d{1,5}))?$/.exec(text)
  const name = signalNumbers[match?.[1] ?? ''] ?? match?.[1]
  const signal = warningSignals.find((one) => one === `SIG${name}`)
  const seconds = Number(match?.[2] ?? 60)
  if (signal === undefined || seconds === 0) throw wrong(option, 'a signal and seconds, as in B:USR1@60')
  return { signal, beforeMs: seconds * 1000 }
}
