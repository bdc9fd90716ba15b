/** Puts tasks into words for nodes. Pure. */
import { environmentOf, type GangPlace, hostsOf, outputPath, type TaskFacts } from './environment.ts'
import { type BatchJob, taskId, taskJobOf } from './job.ts'
import type { KnownNodes } from './nodes.ts'
import { Outbox } from './outbox.ts'

export class Teller {
  readonly outbox: Outbox = new Outbox()
  readonly #nodes: KnownNodes

  constructor(nodes: KnownNodes) {
    this.#nodes = nodes
  }

  start(job: BatchJob, position: number): void {
    const facts = this.#facts(job, position)
    const { output } = job.record.submission
    const { core } = job.tasks.at(position)
    const out = output === null ? null : outputPath(output.out, facts)
    const err = output?.err ?? null
    this.outbox.start(facts.node, () => taskJobOf(job), {
      task: taskId(job.id, position, facts.attempt),
      job: job.id,
      env: environmentOf(facts),
      hosts: facts.gang === null ? null : hostsOf(facts.gang),
      ...(facts.gpus.length === 0 ? {} : { gpus: facts.gpus }),
      ...(core === null ? {} : { core }),
      output: out === null ? null : { out, err: err === null ? out : outputPath(err, facts) },
    })
  }

  /** Asks it to end; after `graceMs` it is killed. */
  stop(job: BatchJob, position: number, graceMs: number): void {
    const { node, attempt } = job.tasks.at(position)
    this.outbox.stop(node, { task: taskId(job.id, position, attempt), signal: 'SIGTERM', graceMs })
  }

  outputOf(job: BatchJob, position: number): string | null {
    const { output } = job.record.submission
    return output === null ? null : outputPath(output.out, this.#facts(job, position))
  }

  #facts(job: BatchJob, position: number): TaskFacts {
    const { attempt, node, gpus } = job.tasks.at(position)
    const array = job.array === null ? null : { ...job.array, index: job.indexOf(position) }
    const gang = job.record.submission.gang === null ? null : this.#placesOf(job)
    return { record: job.record, position, attempt, node, gpus, gang, array }
  }

  #placesOf(job: BatchJob): readonly GangPlace[] {
    return Array.from({ length: job.tasks.count }, (_, rank) => {
      const { node } = job.tasks.at(rank)
      return { node, address: this.#nodes.addressOf(node) }
    })
  }
}
