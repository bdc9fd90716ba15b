/** What an agent is made of: the drivers of its machine, handed in by whoever starts it. */
import type { Bundle } from '../artifact/index.ts'
import type { Clock, Random } from '../base/index.ts'
import type { DomainDriver } from '../domain/index.ts'
import type { LayerStore } from '../image/index.ts'
import type { NetworkDriver } from '../network/index.ts'
import type { Provider } from '../provider/index.ts'
import type { Mount, SandboxDriver } from '../sandbox/index.ts'
import type { KeySource } from '../secrets/index.ts'

/** A program of a bundle, resolved for this machine. */
export interface Program {
  /** With the runtime's path inside the sandbox in front. */
  readonly argv: readonly string[]
  readonly mounts: readonly Mount[]
  readonly env: Readonly<Record<string, string>>
}

/**
 * Where an exchange of data can be ended by an accident, in order: the edges of the older generation lead nowhere; nothing of it
 * runs; what must outlive it is written; that is noted; the servers have stopped (once for each resource); the data is about
 * to be exchanged; it is; what is live now was made fit to start; its server answers; what was written is in it; that is
 * noted; consumers are let in. And of a checkpoint: all is at rest; the copy is made; all goes on.
 */
export type DataStep =
  | 'fenced'
  | 'quiet'
  | 'abandoned'
  | 'noted'
  | 'stopped'
  | 'swapping'
  | 'swapped'
  | 'recovered'
  | 'started'
  | 'carried'
  | 'finished'
  | 'granted'
  | 'at-rest'
  | 'copied'
  | 'resumed'

export interface AgentOptions {
  /** Name of this node. */
  readonly name: string
  /** Directory of the agent's own: plan, records of instances, domains. */
  readonly stateDir: string
  /** Directory for sockets, with a short path. */
  readonly runDir: string
  readonly clock: Clock
  readonly random: Random
  readonly sandbox: SandboxDriver
  /** For submitted jobs that are declared to run without isolation. */
  readonly unsandboxed: SandboxDriver
  readonly network: NetworkDriver
  readonly domain: DomainDriver
  readonly domainBytes: number
  readonly providers: ReadonlyMap<string, Provider>
  /** The bundle, when this node has it. */
  readonly openBundle: (digest: string) => Promise<Bundle | null>
  /** Takes in the bytes of a bundle that another node has. */
  readonly importBundle: (bytes: AsyncIterable<Uint8Array>) => Promise<Bundle>
  /** Where layers of images are unpacked to. Absent: no part runs from an image. */
  readonly layers?: LayerStore
  readonly program: (bundle: Bundle, run: readonly string[]) => Promise<Program>
  /**
   * An address of this machine under which other nodes reach it; null on a single machine. With it the agent listens there,
   * on a port for each instance and resource that serves, and control tells consumers on other nodes. These streams are
   * not encrypted and not authenticated yet: use it in a network that only your nodes are in. Consumers on this node go
   * the local way.
   */
  readonly advertise: string | null
  /** The file in which the node's owner says what jobs may have of it (node-offer.ts). Absent: they may have all that there is. */
  readonly nodeFile?: string
  /** Where the node's own key is, which its plan is sealed with. */
  readonly keys: KeySource
  /**
   * Called at every named step of an exchange of data and of a checkpoint, and waited for: tests end the agent, or what it
   * runs, there. Absent: nothing happens.
   */
  readonly onStep?: (step: DataStep, what: string) => Promise<void> | void
  /** Told of what a person should hear. */
  readonly onNotice: (text: string) => void
}

/** Whether the agent may give files to other users. */
export function mayChangeOwner(): boolean {
  return process.getuid?.() === 0
}
