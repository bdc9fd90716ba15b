/** The interface of what runs a guest: QEMU, or a kernel that is a program itself. */
import type { Duplex } from 'node:stream'
import type { Clock } from '../../../base/index.ts'
import type { Machine, MachineSnapshot, SandboxCapabilities, SandboxSpec } from '../../driver.ts'

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
