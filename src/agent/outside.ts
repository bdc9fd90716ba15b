/**
 * The outside of one instance over its restarts: opens what its part may dial, keeps what was refused, and says so beside
 * its output.
 */
import { SteadError } from '../base/index.ts'
import {
  type Carried,
  describeRefusal,
  type Egress,
  hintForRefusal,
  openEgress,
  type Outside,
  parseEgress,
  type Place,
  type Refusal,
  Refusals,
  resolverAddress,
} from '../network/index.ts'
import { type InstanceAssignment, statusRefusalsMax } from '../protocol/index.ts'
import type { OpenEdge } from './open-edges.ts'
import type { AgentOptions } from './options.ts'
import type { Surroundings } from './surroundings.ts'

/** What names are looked up with, for programs inside. `search .`: no other name is tried when one is not there. */
export const resolverFile: string = `nameserver ${resolverAddress}\nsearch .\noptions timeout:5 attempts:1\n`

const carriedStepBytes = 100_000

/** Who dials what. */
type Dialling = Pick<InstanceAssignment, 'id' | 'part' | 'egress' | 'vm'> & {
  readonly limits: Pick<InstanceAssignment['limits'], 'networkBits'>
}

export class InstanceOutside {
  readonly #options: Pick<AgentOptions, 'clock' | 'network' | 'onNotice'>
  readonly #shared: Pick<Surroundings, 'names' | 'rates'>
  readonly #say: (text: string) => void
  readonly #redact: (text: string) => string
  readonly #refusals = new Refusals()
  #egress: Egress | null = null
  #rate: Disposable | null = null
  #outside: Outside | null = null

  constructor(
    options: Pick<AgentOptions, 'clock' | 'network' | 'onNotice'>,
    shared: Pick<Surroundings, 'names' | 'rates'>,
    say: (text: string) => void,
    redact: (text: string) => string,
  ) {
    this.#options = options
    this.#shared = shared
    this.#say = say
    this.#redact = redact
  }

  /** Opens it in the place of a new or found program; false when this machine has none. Throws `agent.no-egress` when the part is to have some all the same, and `network.no-rate`. */
  async open(
    { id, part, egress = [], limits, vm }: Dialling,
    place: Place,
    edges: readonly OpenEdge[],
    program: 'new' | 'found',
  ): Promise<boolean> {
    const { clock, network, onNotice } = this.#options
    if (place.outside === null) {
      if (network.capabilities.isolation === 'native' && egress.length > 0) throw noEgress(part, network.name)
      return false
    }
    this.#outside = place.outside
    // What may dial nothing needs no rate.
    const guaranteed = limits.networkBits ?? null
    if (egress.length > 0) this.#rate = await this.#shared.rates.join({ id, guaranteed }, place.outside)
    this.#egress = await openEgress({
      outside: place.outside,
      rules: parseEgress(egress),
      names: this.#shared.names,
      clock,
      refusals: this.#refusals,
      ahead: program === 'found',
      // Programs find these in their hosts file.
      ...(vm === undefined ? {} : { hosts: new Map(edges.map(({ edge, address }) => [edge.part, address])) }),
      onRefused: (refusal) => this.#tell(part, refusal),
      onNotice,
    })
    return true
  }

  #tell(part: string, refusal: Pick<Refusal, 'act' | 'what' | 'why' | 'declare'>): void {
    const hint = hintForRefusal(part, refusal)
    // A name may carry out what the program knows.
    this.#say(this.#redact(describeRefusal(part, refusal) + (hint === null ? '' : ` (${hint})`)))
  }

  /** The newest first, as many as a status takes; undefined when there are none. */
  refused(): readonly Refusal[] | undefined {
    const list = this.#egress?.refusals() ?? this.#refusals.list()
    const shown = list.slice(0, statusRefusalsMax).map((refusal) => ({
      ...refusal,
      what: this.#redact(refusal.what),
      declare: refusal.declare === null ? null : this.#redact(refusal.declare),
    }))
    return shown.length === 0 ? undefined : shown
  }

  /** How many different things it was refused, ever. */
  get different(): number {
    return this.#refusals.different
  }

  /** What its link has carried; coarse, so that what is at rest is not told anew for a few packets. Null where it has none. */
  carried(): Carried | null {
    if (this.#outside === null || this.#egress === null) return null
    const { sentBytes, receivedBytes } = this.#outside.carried()
    return { sentBytes: coarse(sentBytes), receivedBytes: coarse(receivedBytes) }
  }

  close(): void {
    this.#outside = null
    void this.#egress?.[Symbol.asyncDispose]()
    this.#egress = null
    this.#rate?.[Symbol.dispose]()
    this.#rate = null
  }
}

function coarse(bytes: number): number {
  return Math.floor(bytes / carriedStepBytes) * carriedStepBytes
}

function noEgress(part: string, driver: string): SteadError {
  return new SteadError({
    code: 'agent.no-egress',
    message: `${part} is to reach addresses outside, and the network driver ${driver} of this node cannot open them`,
    hint: 'See `stead doctor`: it says what this machine lacks.',
  })
}
