/**
 * Nodes come, say what they have, fall silent and are lost. Invariant: what was decided and a node does not know is said to it
 * again; what it has and nobody decided is ended.
 */
import type { NodeOffer, TaskEnd, TaskExit } from '../protocol/index.ts'
import type { NodeSpec } from '../scheduler/index.ts'
import type { NodeCame, NodeState, PoolCame, Unstamped } from './events.ts'
import { lost, notStarted } from './exits.ts'
import type { Handovers } from './handovers.ts'
import { type BatchJob, readTaskId, taskId } from './job.ts'
import type { Ledger } from './ledger.ts'
import { graceMs } from './limits.ts'
import { type KnownNodes, nodeSpec } from './nodes.ts'
import type { Teller } from './teller.ts'

interface Parts {
  readonly ledger: Ledger
  readonly nodes: KnownNodes
  readonly teller: Teller
  readonly handovers: Handovers
}

/** What the core does about it. */
interface Heard {
  decide(event: Unstamped): void
  /** A task that has a place is to start there. */
  begin(job: BatchJob, position: number): void
  ended(end: TaskEnd): void
  /** A task ends now that never began. */
  never(task: string, exit: TaskExit): void
  /** What was being stopped has ended. */
  settle(job: BatchJob, position: number, exit: TaskExit): void
}

export class Attendance {
  readonly #parts: Parts
  readonly #heard: Heard

  constructor(parts: Parts, heard: Heard) {
    this.#parts = parts
    this.#heard = heard
  }

  /** All that a node has, after it has connected. */
  came({ node, offer, running, ended, jobs }: NodeCame): void {
    const { ledger, nodes } = this.#parts
    const { outbox } = this.#parts.teller
    const known = nodes.get(node)
    outbox.greet(node)
    if (known === undefined && offer !== null) {
      nodes.add(node, offer, null)
      this.#heard.decide({ kind: 'add-nodes', nodes: [nodeSpec(node, offer)] })
    } else if (known !== undefined) {
      known.present = true
      if (offer !== null) this.changed(node, offer)
    }
    for (const id of jobs)
      if (ledger.unended.has(id)) outbox.knows(node, id)
      else if (ledger.jobs.has(id)) outbox.over(node, id)
      else outbox.forget(node, id)
    for (const end of ended) this.#heard.ended(end)
    const there = new Set(running)
    for (const id of running)
      if (!this.#isOurs(id, node)) outbox.stop(node, { task: id, signal: 'SIGKILL', graceMs: 0 })
    for (const id of ledger.unended) this.#catchUp(ledger.need(id), node, 'stopping', there)
    for (const id of ledger.unended) this.#catchUp(ledger.need(id), node, 'running', there)
    if (offer !== null) this.#heard.decide(nodes.openness(node))
  }

  poolCame({ pool, nodes }: PoolCame): void {
    const fresh: NodeSpec[] = []
    const back: string[] = []
    for (const { name, offer } of nodes) {
      this.#parts.teller.outbox.speak(name, pool)
      const known = this.#parts.nodes.get(name)
      if (known === undefined) {
        this.#parts.nodes.add(name, offer, pool)
        fresh.push(nodeSpec(name, offer, false))
        if (this.#parts.nodes.cordonOf(name) !== null) back.push(name)
      } else {
        known.present = true
        this.changed(name, offer)
        back.push(name)
      }
    }
    if (fresh.length > 0) this.#heard.decide({ kind: 'add-nodes', nodes: fresh })
    for (const node of back) this.#heard.decide(this.#parts.nodes.openness(node))
  }

  changed(node: string, offer: NodeOffer): void {
    for (const event of this.#parts.nodes.change(node, offer)) this.#heard.decide(event)
  }

  /** Tells a node, or pool, what it does not know of a job, because it was decided and never arrived. */
  #catchUp(job: BatchJob, speaker: string, phase: 'stopping' | 'running', there: ReadonlySet<string>): void {
    for (const position of job.tasks.touched()) {
      const task = job.tasks.at(position)
      if (task.phase !== phase || this.#parts.teller.outbox.speakerOf(task.node) !== speaker) continue
      const id = taskId(job.id, position, task.attempt)
      if (phase === 'running') {
        if (!there.has(id) && !this.#parts.handovers.isHeld(job, position)) this.#heard.begin(job, position)
      } else if (there.has(id)) this.#parts.teller.stop(job, position, graceMs)
      else this.#heard.never(id, notStarted('was ended before it began'))
    }
  }

  #isOurs(id: string, speaker: string): boolean {
    const { job, position, attempt } = readTaskId(id)
    const task = this.#parts.ledger.jobs.get(job)?.tasks.at(position)
    const isThere = task?.attempt === attempt && this.#parts.teller.outbox.speakerOf(task.node) === speaker
    return isThere && (task.phase === 'running' || task.phase === 'stopping')
  }

  away(node: string): void {
    const known = this.#parts.nodes.get(node)
    if (known === undefined) return
    known.present = false
    this.#heard.decide(this.#parts.nodes.openness(node))
  }

  /** Somebody has set what it takes in. */
  set(node: string, state: NodeState, by: string, nowMs: number): void {
    const { nodes } = this.#parts
    nodes.setCordon(node, state === 'open' ? null : { by, sinceMs: nowMs })
    const openness = nodes.openness(node)
    this.#heard.decide(state === 'drained' && openness.kind === 'cordon' ? { ...openness, kind: 'drain' } : openness)
  }

  lost(node: string): void {
    if (this.#parts.nodes.get(node)?.present !== false) return
    this.#parts.nodes.remove(node)
    this.#parts.handovers.forget(node)
    this.#parts.teller.outbox.forgetNode(node)
    this.#parts.ledger.setLoad(node, null)
    for (const id of this.#parts.ledger.unended) {
      const job = this.#parts.ledger.need(id)
      for (const position of job.tasks.touched()) {
        const task = job.tasks.at(position)
        if (task.node === node && task.phase === 'stopping') this.#heard.settle(job, position, lost(node))
      }
    }
    this.#heard.decide({ kind: 'remove-node', node })
  }
}
