/**
 * Who stops on a larger cluster, in long runs: always as few and as unimportant tasks as the best set of any node. What is remembered
 * of nodes between two searches is put to the test by nodes that close and open, and by more changes than are kept.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Dice } from '../../test/scheduler/dice.ts'
import { Scheduler, type JobSpec } from './index.ts'

interface Task {
  readonly node: string
  readonly cpu: number
  readonly memory: number
  readonly priority: number
}

const capacity = { cpu: 6, memory: 12 }
const urgent = 10

/** Sorts like the cost: how many, then their priorities from the most important down. All are single digits. */
function costOf(victims: readonly Task[]): string {
  return [victims.length, ...victims.map(({ priority }) => priority).sort((a, b) => b - a)].join(' ')
}

/** The least cost of room for `needs` on a node with these tasks; null: stopping does not help. */
function leastOn(tasks: readonly Task[], needs: { readonly cpu: number; readonly memory: number }): string | null {
  const lacks = (of: 'cpu' | 'memory', victims: readonly Task[]): boolean =>
    tasks.filter((task) => !victims.includes(task)).reduce((sum, task) => sum + task[of], needs[of]) > capacity[of]
  const candidates = tasks.filter(({ priority }) => priority < urgent)
  let least: string | null = null
  for (let bits = 0; bits < 1 << candidates.length; bits++) {
    const victims = candidates.filter((_, index) => (bits & (1 << index)) !== 0)
    const cost = costOf(victims)
    if ((least === null || cost < least) && !lacks('cpu', victims) && !lacks('memory', victims)) least = cost
  }
  return least
}

function run(seed: number, steps: number): number {
  const dice = new Dice(seed)
  const scheduler = new Scheduler()
  const nodes = Array.from({ length: 30 }, (_, index) => `n${index}`)
  const closed = new Set<string>()
  const tasks = new Map<string, Task>()
  scheduler.apply({ atMs: 0, kind: 'add-nodes', nodes: nodes.map((name) => ({ name, capacity })) })
  let preempting = 0
  for (let step = 0; step < steps; step++) {
    const priority = dice.percent(15) ? urgent : dice.number(3)
    // Few different needs, so that what is remembered is used again.
    const needs =
      priority === urgent
        ? dice.pick([{ cpu: 4, memory: 6 }, capacity])
        : { cpu: 1 + dice.number(2), memory: 1 + dice.number(4) }
    const spec: JobSpec = { name: `j${step}`, needs, priority }
    const costs = nodes
      .filter((node) => priority === urgent && !closed.has(node))
      .map((node) =>
        leastOn(
          [...tasks.values()].filter((task) => task.node === node),
          needs,
        ),
      )
      .filter((cost) => cost !== null)
      .sort()
    const victims: Task[] = []
    let placed = false
    const decisions = scheduler.apply({ atMs: step, kind: 'submit', jobs: [spec] })
    for (const decision of decisions) {
      // A victim that goes on elsewhere is none of the test's business: it is cancelled below.
      if (decision.kind === 'place' && decision.task === spec.name) {
        placed = true
        tasks.set(spec.name, { node: decision.node, ...needs, priority })
      }
      const victim = decision.kind === 'stop' ? tasks.get(decision.task) : undefined
      if (decision.kind !== 'stop' || victim === undefined) continue
      // A victim may make others stop in its turn.
      if (decision.for === spec.name) victims.push(victim)
      tasks.delete(decision.task)
    }
    if (priority === urgent) {
      assert.equal(placed, costs.length > 0, `${spec.name} of seed ${seed} is placed where it can be`)
      if (placed) assert.equal(costOf(victims), costs[0], `${spec.name} of seed ${seed}`)
      preempting += victims.length > 0 ? 1 : 0
    }
    // Nothing waits, so every search is for the job that comes next.
    for (const decision of decisions)
      if (decision.kind === 'stop') scheduler.apply({ atMs: step, kind: 'cancel', job: decision.task })
    if (!placed) scheduler.apply({ atMs: step, kind: 'cancel', job: spec.name })
    const [ended] = tasks.keys()
    if (ended !== undefined && tasks.size > 60 && dice.percent(20)) {
      tasks.delete(ended)
      scheduler.apply({ atMs: step, kind: 'end', task: ended, outcome: 'success' })
    }
    if (dice.percent(3)) {
      const node = dice.pick(nodes)
      const opens = closed.delete(node)
      if (!opens) closed.add(node)
      scheduler.apply({ atMs: step, kind: opens ? 'uncordon' : 'cordon', node })
    }
    if (dice.percent(1))
      for (let round = 0; round < 700; round++) {
        const name = `b${step}-${round}`
        const came = scheduler.apply({ atMs: step, kind: 'submit', jobs: [{ name, needs: {} }] })
        scheduler.apply(
          came.length > 0
            ? { atMs: step, kind: 'end', task: name, outcome: 'success' }
            : { atMs: step, kind: 'cancel', job: name },
        )
      }
  }
  return preempting
}

test('as few victims as can be, and as unimportant ones, on a larger cluster over a long time', () => {
  let preempting = 0
  for (let seed = 0; seed < 6; seed++) preempting += run(seed, 500)
  assert.ok(preempting > 100, `only ${preempting} had to stop others`)
})
