/**
 * What the tasks of one job may dial outside, from the network that they share on this node. Invariant: the rate that is held for
 * them is that of as many tasks as run here.
 */
import { SteadError } from '../base/index.ts'
import {
  describeRefusal,
  type Egress,
  type NameLookup,
  openEgress,
  parseEgress,
  type Place,
  type Rates,
  Refusals,
} from '../network/index.ts'
import type { TaskJob } from '../protocol/index.ts'
import type { AgentOptions } from './options.ts'

export interface TaskOutsideNeeds {
  readonly options: Pick<AgentOptions, 'clock' | 'network' | 'onNotice'>
  readonly names: NameLookup
  readonly rates: Rates
}

export class TaskOutside {
  readonly #job: TaskJob
  readonly #place: Place
  readonly #needs: TaskOutsideNeeds
  readonly #egress: Egress
  #rate: Disposable | null = null
  #tasks = 0

  private constructor(job: TaskJob, place: Place, needs: TaskOutsideNeeds, egress: Egress) {
    this.#job = job
    this.#place = place
    this.#needs = needs
    this.#egress = egress
  }

  /** Null: the job may dial nothing. `found`: its programs run already. Throws `agent.no-egress`. */
  static async open(
    job: TaskJob,
    place: Place,
    needs: TaskOutsideNeeds,
    program: 'new' | 'found',
  ): Promise<TaskOutside | null> {
    const { egress = [] } = job
    const { clock, network, onNotice } = needs.options
    if (egress.length === 0) return null
    if (place.outside === null)
      throw new SteadError({
        code: 'agent.no-egress',
        message: `job ${job.job} is to reach addresses outside, and the network driver ${network.name} of this node cannot open them`,
        hint: 'See `stead doctor`: it says what this machine lacks.',
      })
    const opened = await openEgress({
      outside: place.outside,
      rules: parseEgress(egress),
      names: needs.names,
      clock,
      refusals: new Refusals(),
      ahead: program === 'found',
      onRefused: (refusal) => onNotice(describeRefusal(`job ${job.job}`, refusal)),
      onNotice,
    })
    return new TaskOutside(job, place, needs, opened)
  }

  /** So many of its tasks run here now. Throws `network.no-rate`. */
  async hold(tasks: number): Promise<void> {
    const { outside } = this.#place
    const { job, networkBits } = this.#job
    if (outside === null || tasks === this.#tasks) return
    // Who is guaranteed nothing has one share, however many they are.
    const isHeld = networkBits === undefined && this.#tasks > 0 && tasks > 0
    this.#tasks = tasks
    if (isHeld) return
    if (tasks === 0) return this.#letGo()
    const guaranteed = networkBits === undefined ? null : networkBits * tasks
    const wish = { id: `job-${job}`, guaranteed, isCounted: true }
    this.#rate = await this.#needs.rates.join(wish, outside)
  }

  close(): void {
    void this.#egress[Symbol.asyncDispose]()
    this.#letGo()
  }

  #letGo(): void {
    this.#rate?.[Symbol.dispose]()
    this.#rate = null
  }
}
