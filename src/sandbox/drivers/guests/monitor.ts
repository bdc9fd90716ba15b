/** The interface of what runs a guest: QEMU, or a kernel that is a program itself. */
import type { Duplex } from 'node:stream'
import type { Clock } from '../../../base/index.ts'
import type { Machine, MachineSnapshot, SandboxCapabilities, SandboxSpec, SandboxUsage } from '../../driver.ts'

/** The directory in which a machine and its supervisor meet, and whose the machine is on the host. */
export interface MeetingPlace {
  readonly directory: string
  readonly hostUid: number
}

export interface Monitor {
  /** The driver's name, in records and messages. */
  readonly name: string
  /** Of the host, that it needs. */
  readonly devices: readonly string[]
  /** What guests can be given, out of what the sandbox around gives. */
  capabilities(around: SandboxCapabilities): SandboxCapabilities
  /** Makes what guests start with, once. Throws `sandbox.unavailable`, `sandbox.no-space`. */
  prepare(): Promise<void>
  /** What the sandbox around is started with, for a spec whose paths are free of symbolic links. Throws `sandbox.unavailable`. */
  around(spec: SandboxSpec, place: MeetingPlace): SandboxSpec
  /** Absent: what runs the guest is the program of the sandbox around. */
  readonly elsewhere?: Elsewhere
  /** Connects to the first program of the guest; null while it cannot be reached. */
  connect(place: MeetingPlace): Promise<Duplex | null>
  /** Has a machine do something, and answers the states it has kept, where that was asked; null: there is nothing that could. */
  readonly order:
    | ((place: MeetingPlace, order: MachineOrder, waiting: Waiting) => Promise<readonly MachineSnapshot[]>)
    | null
  /** Whether something inside has taken an open stream to a port; null: its streams are carried by nobody. */
  readonly accepts: ((place: MeetingPlace, port: number, waiting: Waiting) => Promise<boolean>) | null
  /** Deletes what a machine has left on the disk. */
  forget(place: MeetingPlace): void
  /** Ways to the kernel, which reject or throw where there is none. */
  ways(place: MeetingPlace, id: string): Pick<Machine, 'console' | 'debugStub' | 'debugger'>
}

/** A guest that no process of the sandbox around runs, which only waits for its end. */
export interface Elsewhere {
  /** Makes and starts it, once the sandbox around waits. Resolves when its first program answers, or it has ended. */
  begin(spec: SandboxSpec, place: MeetingPlace, around: Waiter): Promise<void>
  /** Null when it is not there, or does not run. */
  find(place: MeetingPlace): Promise<Found | null>
  /** Ends it, wherever it stands, and removes all of it. */
  end(place: MeetingPlace): Promise<void>
  usage(place: MeetingPlace): Promise<SandboxUsage>
}

/** Processes of such a guest on the host: its first, and the program's own. */
export interface Found {
  readonly init: number
  readonly program: number
}

/** What waits for such a guest. */
export interface Waiter {
  /** A process of it, in the network of the guest's place. */
  readonly pid: number
  isOver(): boolean
}

/** To stand still, to go on, to press its power button, to list what it has kept; to keep its state, go back to one, drop one. */
export type MachineOrder =
  | { readonly kind: 'pause' | 'resume' | 'power-down' | 'kept' }
  | { readonly kind: StateOrder; readonly name: string }

export type StateOrder = 'keep' | 'go-back' | 'drop'

export interface Waiting {
  readonly clock: Clock
  /** The machine is gone, so that nobody waits for it. */
  readonly isOver: () => boolean
}
