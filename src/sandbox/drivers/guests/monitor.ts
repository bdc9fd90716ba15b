/** The interface of what runs a guest: QEMU, or a kernel that is a program itself. */
import type { Duplex } from 'node:stream'
import type { Clock } from '../../../base/index.ts'
import type { Machine, SandboxCapabilities, SandboxSpec } from '../../driver.ts'

/** The directory in which a machine and its supervisor meet, and whose the machine is on the host. */
export interface MeetingPlace {
  readonly directory: string
  readonly hostUid: number
}

export interface Monitor {
  /** The driver's name, in records and messages. */
  readonly name: string
  /** What guests can be given, out of what the sandbox around gives. */
  capabilities(around: SandboxCapabilities): SandboxCapabilities
  /** What the sandbox around is started with, for a spec whose paths are free of symbolic links. Throws `sandbox.unavailable`, `sandbox.no-space`. */
  around(spec: SandboxSpec, place: MeetingPlace): SandboxSpec
  /** Connects to the first program of the guest; null while it cannot be reached. */
  connect(place: MeetingPlace): Promise<Duplex | null>
  /** Makes it stand still or go on; null: the sandbox around does that. */
  readonly pause: ((place: MeetingPlace, order: PauseOrder) => Promise<void>) | null
  /** Ways to the kernel, which reject or throw where there is none. */
  ways(place: MeetingPlace, id: string): Pick<Machine, 'console' | 'debugStub' | 'debugger'>
}

export interface PauseOrder {
  readonly paused: boolean
  readonly clock: Clock
  /** The machine is gone, so that nobody waits for it. */
  readonly isOver: () => boolean
}
