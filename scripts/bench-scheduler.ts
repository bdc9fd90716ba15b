/**
 * The scheduler in figures, on one thread, through its public face: a million tasks on a million nodes, six classes of rules
 * on 5,000 nodes, and how full nodes get beside an exhaustive best fit. CPU time is what counts, because machines are
 * shared. Prints a table; decides nothing.
 */
import { spawnSync } from 'node:child_process'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { Scheduler, type JobSpec, type NodeSpec } from '../src/scheduler/index.ts'

const sizes = [
  { cpu: 32, memory: 128 },
  { cpu: 64, memory: 256 },
  { cpu: 96, memory: 384 },
  { cpu: 128, memory: 768 },
]
const gib = 2 ** 30
/** With which the process that holds the scheduler of the platform is started. */
const controlFlag = '--optimize-for-size'

/** A repeatable sequence of numbers in 0 .. 1 (a linear congruence; fast, and good enough for sizes). */
function dice(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

function needsOf(random: () => number): { cpu: number; memory: number } {
  const cpu = [0.5, 1, 1, 2, 2, 4, 4, 8, 16][Math.floor(random() * 9)] ?? 1
  return { cpu, memory: Math.round(cpu * (1 + random() * 7)) * gib }
}

function addNodes(scheduler: Scheduler, count: number, more: (index: number) => Partial<NodeSpec> = () => ({})): void {
  for (let from = 0; from < count; from += 1000) {
    const nodes = Array.from({ length: Math.min(1000, count - from) }, (_, offset): NodeSpec => {
      const index = from + offset
      const { cpu, memory } = sizes[index % 4] ?? { cpu: 1, memory: 1 }
      const extra = more(index)
      return { name: `n${index}`, zone: `z${index % 3}`, capacity: { cpu, memory: memory * gib }, ...extra }
    })
    scheduler.apply({ atMs: 0, kind: 'add-nodes', nodes })
  }
}

interface Figures {
  readonly placed: number
  readonly cpuSeconds: number
  readonly wallSeconds: number
  readonly p50: number
  readonly p99: number
}

/** Submits the jobs and counts places; a decision's (wall) time is that of its event, divided by its decisions. */
function measure(scheduler: Scheduler, jobs: Iterable<JobSpec>): Figures {
  const times: number[] = []
  let placed = 0
  const cpuStart = process.cpuUsage()
  const start = performance.now()
  for (const job of jobs) {
    const before = performance.now()
    const decisions = scheduler.apply({ atMs: 1, kind: 'submit', jobs: [job] })
    const us = (1000 * (performance.now() - before)) / Math.max(1, decisions.length)
    let places = 0
    for (const decision of decisions) if (decision.kind === 'place') places++
    placed += places
    for (let index = 0; index < Math.min(places, 16); index++) times.push(us)
  }
  const whole = process.cpuUsage(cpuStart)
  times.sort((a, b) => a - b)
  return {
    placed,
    cpuSeconds: (whole.user + whole.system) / 1e6,
    wallSeconds: (performance.now() - start) / 1000,
    p50: times[Math.floor(times.length / 2)] ?? 0,
    p99: times[Math.floor(times.length * 0.99)] ?? 0,
  }
}

function show(what: string, { placed, cpuSeconds, wallSeconds, p50, p99 }: Figures, more = ''): void {
  const rate = Math.round(placed / cpuSeconds).toLocaleString('en')
  process.stdout.write(
    `${what.padEnd(44)} ${placed.toLocaleString('en').padStart(9)} placed, ${rate.padStart(9)} per CPU second, ` +
      `${cpuSeconds.toFixed(2)} s CPU, ${wallSeconds.toFixed(2)} s, ${p50.toFixed(1)} us (p99 ${p99.toFixed(1)})${more}\n`,
  )
}

/** Services of 500 tasks each; ruled: evenly over three zones, no two of a service on one node. */
function services(scheduler: Scheduler, nodes: number, ruled: boolean): Figures {
  addNodes(scheduler, nodes)
  const random = dice(1)
  function* jobs(): Generator<JobSpec> {
    for (let index = 0; index < nodes / 500; index++) {
      const to = { app: `a${index}`, part: 'p' }
      yield {
        name: `s${index}`,
        ...to,
        count: 500,
        needs: needsOf(random),
        ...(ruled ? { spread: [{ by: 'zone', skewMax: 1 }], antiAffinity: [{ to, by: 'node' }] } : {}),
      }
    }
  }
  return measure(scheduler, jobs())
}

/**
 * A million tasks of 2,000 services on a million nodes. What Node does once, compile what runs often, is done before on a
 * small cluster. The memory is that of the whole process; what it had before the first node is said apart.
 */
function million(ruled: boolean, more = ''): void {
  const before = process.memoryUsage.rss() / 1e6
  services(new Scheduler(), 50_000, ruled)
  const scheduler = new Scheduler()
  const figures = services(scheduler, 1_000_000, ruled)
  const rss = process.memoryUsage.rss() / 1e6
  const memory = `, ${rss.toFixed(0)} MB, ${before.toFixed(0)} of them before the first node`
  show(`1M nodes, 1M tasks${ruled ? ', zone skew 1, one a node' : ''}${more}`, figures, memory)
}

/** In a process of its own, because the memory of one is never that of another; and as the platform's control is started. */
function millions(): void {
  for (const flags of [[], [controlFlag]])
    spawnSync(process.execPath, [...process.execArgv, ...flags, import.meta.filename, 'million-here'], {
      stdio: 'inherit',
    })
}

/** Each class of rules some times on a small cluster, for Node to compile what runs often, and once measured. */
function classes(): void {
  for (const count of [500, 500, 500, 500, 5000]) {
    const print = count === 5000 ? show : () => undefined
    for (const [name, rules] of Object.entries(classesOfRules))
      print(`5,000 nodes: ${name}`, measureRules(count, rules))
    for (const [name, each, cpu] of [
      ['preemption', 250, 2],
      ['preemption, single tasks', 1, 2],
      ['preemption, four victims each', 250, 8],
    ] as const)
      print(`5,000 nodes: ${name}`, measurePreemption(count, each, cpu))
  }
}

const classesOfRules: Record<string, (index: number) => Partial<JobSpec>> = {
  plain: () => ({}),
  'spread (zone, skew 1)': () => ({ spread: [{ by: 'zone', skewMax: 1 }] }),
  'required anti-affinity (node)': (index) => ({ antiAffinity: [{ to: { app: `a${index}` }, by: 'node' }] }),
  'required affinity (zone)': () => ({ affinity: [{ to: { app: 'first' }, by: 'zone' }] }),
  'affinity with selectors': (index) => ({
    affinity: [{ to: { app: 'first' }, by: 'zone' }],
    antiAffinity: [{ to: { app: `a${index}` }, by: 'node' }],
    selector: [{ label: 'disk', operator: 'in', values: ['ssd', 'nvme'] }],
  }),
}

function measureRules(count: number, rules: (index: number) => Partial<JobSpec>): Figures {
  const random = dice(2)
  const scheduler = new Scheduler()
  addNodes(scheduler, count, (index) => ({
    rack: `r${index % 125}`,
    labels: { disk: ['ssd', 'hdd', 'nvme'][index % 3] ?? '' },
  }))
  scheduler.apply({ atMs: 0, kind: 'submit', jobs: [{ name: 'first', app: 'first', count: 3, needs: { cpu: 1 } }] })
  function* jobs(): Generator<JobSpec> {
    for (let index = 0; index < count / 25; index++)
      yield {
        name: `s${index}`,
        app: `a${index}`,
        count: 250,
        needs: { cpu: 1, memory: Math.ceil(random() * 4) * gib },
        ...rules(index),
      }
  }
  return measure(scheduler, jobs())
}

/** Everything is full of less important tasks of two cores, so each place needs victims; ten tasks a node, but no more than there is room for. */
function measurePreemption(count: number, each: number, cpu: number): Figures {
  const scheduler = new Scheduler()
  addNodes(scheduler, count)
  const low = { name: 'low', count: count * 40, needs: { cpu: 2, memory: 4 * gib }, priority: -1 }
  scheduler.apply({ atMs: 0, kind: 'submit', jobs: [low] })
  function* urgent(): Generator<JobSpec> {
    for (let index = 0; index < (count * Math.min(10, 72 / cpu)) / each; index++)
      yield { name: `u${index}`, count: each, needs: { cpu, memory: 2 * cpu * gib }, priority: 1 }
  }
  return measure(scheduler, urgent())
}

/** How full the used nodes are when tasks no longer fit, beside the best fit that looks at every node. */
function fill(): void {
  const count = 5000
  const scheduler = new Scheduler()
  addNodes(scheduler, count)
  const total = Array.from({ length: count }, (_, index) => sizes[index % 4]?.cpu ?? 0).reduce(
    (sum, cpu) => sum + cpu,
    0,
  )
  const largest = { cpu: 128, memory: 1024 * gib }
  const exhaustive = Array.from({ length: count }, (_, index) => ({
    cpu: sizes[index % 4]?.cpu ?? 0,
    memory: (sizes[index % 4]?.memory ?? 0) * gib,
  }))
  const random = dice(3)
  let [ours, theirs, index] = [0, 0, 0]
  for (let arrived = 0; arrived < total * 1.1; index++) {
    const needs = needsOf(random)
    arrived += needs.cpu
    const decisions = scheduler.apply({ atMs: 1, kind: 'submit', jobs: [{ name: `t${index}`, needs }] })
    if (decisions.length > 0) ours += needs.cpu
    else scheduler.apply({ atMs: 1, kind: 'cancel', job: `t${index}` })
    let best: (typeof exhaustive)[number] | null = null
    let bestRoom = Infinity
    for (const node of exhaustive) {
      const room = node.cpu / largest.cpu + node.memory / largest.memory
      if (node.cpu < needs.cpu || node.memory < needs.memory || room >= bestRoom) continue
      best = node
      bestRoom = room
    }
    if (best === null) continue
    best.cpu -= needs.cpu
    best.memory -= needs.memory
    theirs += needs.cpu
  }
  const percent = (cpu: number): string => `${((100 * cpu) / total).toFixed(2)} %`
  process.stdout.write(`fill of 5,000 nodes, cpu: ${percent(ours)}, exhaustive best fit ${percent(theirs)}\n`)
}

/** The lists of a production GPU cluster beside the published figures; the data is not part of this repository. */
function openb(): void {
  const data = process.env['STEAD_OPENB'] ?? ''
  if (data === '')
    process.stdout.write('openb: not run; STEAD_OPENB names the directory of its data (see scripts/openb.ts)\n')
  else {
    const script = join(import.meta.dirname, 'openb.ts')
    spawnSync(process.execPath, [...process.execArgv, script, '--data', data, '--policy', 'fgd,compact'], {
      stdio: 'inherit',
    })
  }
}

const sections: Record<string, () => void> = {
  classes,
  fill,
  million: millions,
  'million-plain': () => million(false),
  openb,
}
const [wanted] = process.argv.slice(2)
if (wanted === 'million-here') million(true, process.execArgv.includes(controlFlag) ? ', for size' : '')
else {
  process.stdout.write(`${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} CPUs, Node ${process.version}\n`)
  for (const [name, section] of Object.entries(sections)) if (wanted === undefined || wanted === name) section()
}
