/** Generated clusters, jobs and events: small, crowded, and with every rule now and then. */
import type { Event, ExpectedLoad, JobSpec, Level, NodeSpec, Subject } from '../../src/scheduler/index.ts'
import type { Dice } from './dice.ts'

const levels: readonly Level[] = ['node', 'rack', 'zone']

export interface CaseOptions {
  /** Only amounts, priorities and kinds; no rules about other tasks. */
  readonly plain?: boolean
  readonly gangs?: boolean
}

export function someNode(dice: Dice, name: string): NodeSpec {
  return {
    name,
    zone: `z${dice.number(3)}`,
    rack: `r${dice.number(2)}`,
    labels: dice.percent(50) ? { disk: dice.pick(['ssd', 'hdd']) } : {},
    ...(dice.percent(15) ? { taints: [{ key: 'special', value: 'yes', effect: 'no-schedule' as const }] } : {}),
    ...(dice.percent(50) ? { clockErrorNs: dice.pick([100, 10_000]) } : {}),
    ...(dice.percent(30) ? { bestEffortFactor: 2 } : {}),
    pricePerHour: dice.number(3),
    capacity: {
      cpu: 2 + dice.number(6),
      memory: 4 + dice.number(12),
      disk: dice.number(10),
      network: 10,
      ...(dice.percent(40) ? { gpus: { model: dice.pick(['A', 'B']), count: 1 + dice.number(3) } } : {}),
      ...(dice.percent(30) ? { counted: { licence: 2 } } : {}),
      realtimeCores: dice.number(3),
    },
  }
}

function someSubject(dice: Dice): Subject {
  return dice.percent(50) ? { app: dice.pick(['a', 'b']) } : { app: dice.pick(['a', 'b']), part: dice.pick(['p', 'q']) }
}

export function someJob(dice: Dice, name: string, nodes: readonly string[], options: CaseOptions = {}): JobSpec {
  const rare = (chance: number): boolean => options.plain !== true && dice.percent(chance)
  const many = dice.percent(50)
  return {
    name,
    account: dice.pick(['red', 'blue']),
    ...(dice.percent(70)
      ? { app: dice.pick(['a', 'b']), ...(dice.percent(60) ? { part: dice.pick(['p', 'q']) } : {}) }
      : {}),
    ...(many ? { count: 1 + dice.number(4) } : {}),
    ...(many && options.gangs !== false && dice.percent(25) ? { gang: true } : {}),
    needs: {
      cpu: dice.pick([0, 0.5, 1, 1, 2, 3]),
      memory: dice.number(5),
      ...(dice.percent(20) ? { disk: dice.number(4) } : {}),
      ...(dice.percent(20) ? { network: dice.number(5) } : {}),
      ...(rare(15) ? { bestEffort: ['cpu' as const] } : {}),
      ...(dice.percent(20)
        ? {
            gpu: {
              ...(dice.percent(50) ? { count: 1 + dice.number(2) } : { milli: 100 * (1 + dice.number(9)) }),
              ...(dice.percent(40) ? { models: [dice.pick(['A', 'B'])] } : {}),
            },
          }
        : {}),
      ...(dice.percent(10) ? { counted: { licence: 1 } } : {}),
      ...(dice.percent(8)
        ? { cpuTime: { runtimeUs: 1 + dice.number(3), periodUs: dice.pick([4, 6, 8]), deadlineUs: 4 } }
        : {}),
    },
    priority: dice.pick([0, 0, 0, 1, 5]),
    ...(dice.percent(10) ? { preempts: false } : {}),
    ...(rare(15)
      ? { selector: [{ label: 'disk', operator: dice.pick(['in', 'not-in'] as const), values: ['ssd'] }] }
      : {}),
    ...(rare(20) ? { tolerations: [{ key: 'special' }] } : {}),
    ...(rare(12) ? { affinity: [{ to: someSubject(dice), by: dice.pick(levels) }] } : {}),
    ...(rare(15) ? { antiAffinity: [{ to: someSubject(dice), by: dice.pick(levels) }] } : {}),
    ...(rare(20) ? { spread: [{ by: dice.pick(levels), skewMax: 1 + dice.number(2) }] } : {}),
    ...(rare(10) ? { onePerNode: true } : {}),
    ...(rare(10) ? { near: { nodes: [dice.pick(nodes)], required: dice.percent(50) } } : {}),
    ...(rare(10) ? { latency: [{ to: someSubject(dice), usMax: 100 }] } : {}),
    ...(rare(10) ? { clockErrorNsMax: 1000 } : {}),
    ...(dice.percent(30) ? { timeLimitMs: 10 + dice.number(50) } : {}),
  }
}

/** What the generator knows of the run so far. */
export interface Known {
  readonly nodes: readonly string[]
  readonly running: readonly string[]
  readonly count: number
  readonly nowMs: number
  /** Jobs of several tasks that are no gangs; absent: none is scaled. */
  readonly arrays?: readonly string[]
}

/** The next event of a run. */
export function someEvent(dice: Dice, known: Known, options: CaseOptions = {}): Event {
  const atMs = known.nowMs + dice.number(5)
  if (dice.percent(4)) return nonsense(dice, known, atMs)
  if (dice.percent(6)) return changeOfMind(dice, known, atMs)
  const roll = dice.number(100)
  const node = dice.pick(known.nodes)
  if (roll < 45 || known.running.length === 0) {
    const jobs = Array.from({ length: 1 + dice.number(2) }, (_, index) =>
      someJob(dice, `j${known.count + index}`, known.nodes, options),
    )
    return { atMs, kind: 'submit', jobs }
  }
  if (roll < 75)
    return { atMs, kind: 'end', task: dice.pick(known.running), outcome: dice.percent(80) ? 'success' : 'failure' }
  if (roll < 79) return { atMs, kind: 'cordon', node }
  if (roll < 84) return { atMs, kind: 'uncordon', node }
  if (roll < 86) return { atMs, kind: 'drain', node }
  if (roll < 88 && known.nodes.length > 2) return { atMs, kind: 'remove-node', node }
  if (roll < 91) return { atMs, kind: 'add-nodes', nodes: [someNode(dice, `n${known.count + 100}`)] }
  if (roll < 93)
    return {
      atMs,
      kind: 'change-node',
      node,
      labels: { disk: dice.pick(['ssd', 'hdd']) },
      taints: dice.percent(30) ? [{ key: 'broken', effect: 'no-execute' }] : [],
      ...(dice.percent(50) ? { capacity: someNode(dice, node).capacity, bestEffortFactor: dice.pick([1, 2, 3]) } : {}),
    }
  if (roll < 95)
    return {
      atMs,
      kind: 'set-account',
      account: dice.pick(['red', 'blue']),
      quota: dice.percent(50) ? { cpu: 3 + dice.number(6), tasks: 4 + dice.number(6) } : {},
    }
  if (roll < 96) {
    const fromMs = atMs + dice.number(20)
    const reservation = { name: `v${known.count}`, nodes: [node], fromMs, untilMs: fromMs + 1 + dice.number(40) }
    return { atMs, kind: 'reserve', reservation }
  }
  if (roll < 97)
    return { atMs, kind: 'set-uplink', by: 'zone', name: `z${dice.number(3)}`, network: 5 + dice.number(15) }
  if (roll < 98)
    return { atMs, kind: 'set-latency', pairs: [{ from: 'z0', to: dice.pick(['z1', 'z2']), us: dice.pick([50, 500]) }] }
  if (dice.percent(75)) return { atMs, kind: 'expect', node, load: someLoad(dice, atMs) }
  return { atMs, kind: 'time' }
}

/** A job that may be known, or was, or never will be. */
function someName(dice: Dice, { count, running }: Known, letter: string): string {
  const [job = 'j0'] = running.length > 0 && dice.percent(70) ? dice.pick(running).split('/') : []
  return letter === 'j' && dice.percent(70) ? job : `${letter}${10 * dice.number(count / 10 + 1)}`
}

/** What people do after all: they cancel, scale, release, and give places back. */
function changeOfMind(dice: Dice, known: Known, atMs: number): Event {
  const roll = dice.number(4)
  if (roll === 0 && known.running.length > 0) return { atMs, kind: 'requeue', task: dice.pick(known.running) }
  if (roll === 1) return { atMs, kind: 'release', reservation: someName(dice, known, 'v') }
  if (roll === 2 && known.arrays !== undefined && known.arrays.length > 0)
    return { atMs, kind: 'scale', job: dice.pick(known.arrays), count: 1 + dice.number(6) }
  return { atMs, kind: 'cancel', job: someName(dice, known, 'j') }
}

/** What comes late, twice, or about something that is not there: it is refused, or means what it says, and breaks nothing. */
function nonsense(dice: Dice, known: Known, atMs: number): Event {
  const job = someName(dice, known, 'j')
  const node = dice.pick(known.nodes)
  return dice.pick<Event>([
    { atMs, kind: 'end', task: `${job}/${dice.number(5)}`, outcome: 'success' },
    { atMs, kind: 'end', task: job, outcome: 'failure' },
    { atMs, kind: 'requeue', task: job },
    { atMs, kind: 'add-nodes', nodes: [{ name: node, capacity: { cpu: 1, memory: 1 } }] },
    { atMs, kind: 'submit', jobs: [{ name: job, needs: { cpu: 1 } }] },
    { atMs, kind: 'submit', jobs: [{ name: `x${known.count}`, needs: { cpu: 1000 } }] },
    { atMs, kind: 'change-node', node: 'nowhere', labels: {} },
    { atMs, kind: 'change-node', node, capacity: { cpu: Number.NaN, memory: 1 } },
    { atMs: atMs - 1000, kind: 'time' },
    { atMs: Number.NaN, kind: 'time' },
  ])
}

function someLoad(dice: Dice, atMs: number): readonly ExpectedLoad[] {
  return Array.from({ length: dice.number(3) }, () => {
    const fromMs = atMs + dice.number(30) - 10
    return {
      fromMs,
      untilMs: fromMs + 1 + dice.number(30),
      ...(dice.percent(70) ? { cpu: dice.number(6) } : {}),
      ...(dice.percent(40) ? { memory: dice.number(10) } : {}),
      ...(dice.percent(30) ? { network: dice.number(10) } : {}),
    }
  })
}
