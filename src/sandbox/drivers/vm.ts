/**
 * The sandbox driver with a kernel of its own: each program runs in a guest of QEMU, booted directly, whose files are those
 * that the spec names. KVM where the processor has it, emulation where not, and the capabilities say which.
 *
 * QEMU is a program in a bubblewrap sandbox: its user, its namespaces, its filter, its limit group, its output, its exit, its
 * record and its network are those, so that whoever breaks out of the guest and out of QEMU stands in a sandbox.
 *
 * Invariants: what the program does ends the machine with it, and the machine tells how the program ended; the sockets of a
 * machine lie under a name that follows from its record, where no other user may enter.
 */
import { createHash } from 'node:crypto'
import { accessSync, chownSync, constants, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import type { Clock } from '../../base/index.ts'
import { refuseBeyond } from '../capabilities.ts'
import type { LimitGroups } from '../cgroup.ts'
import type { OutputLine, OutputOptions, Sandbox, SandboxCapabilities, SandboxDriver, SandboxSpec } from '../driver.ts'
import { checkSpec } from '../spec.ts'
import { bubblewrapDriver, filterOf, lookAtHost, madeRoot } from './bubblewrap.ts'
import type { Logger } from './programs.ts'
import { readIfThere, readRecord } from './records.ts'
import { machineSpec } from './vm/guest.ts'
import type { Acceleration } from './vm/guest.ts'
import { inRoot } from './root.ts'
import { guestFiles } from './vm/initramfs.ts'
import type { GuestFiles } from './vm/initramfs.ts'
import { findGuestParts } from './vm/kernel.ts'
import type { GuestParts } from './vm/kernel.ts'
import { RunningGuest } from './vm/running-guest.ts'

const name = 'vm'
const controlName = 16

export interface VmDriverOptions {
  readonly clock: Clock
  /** From `detectLimitGroups`; null where none can be made. */
  readonly groups: LimitGroups | null
  /** Where the unpacked kernel and the first root of guests are kept; every user must be able to pass through. */
  readonly stateDir: string
  /** Defaults to s6-log where it is installed. */
  readonly logger?: Logger
  /** Directory below which packages with QEMU and a kernel were unpacked; the system's own when it is left out. */
  readonly partsRoot?: string
}

/** Makes the driver after looking for its parts. Throws `sandbox.unavailable`, with the one that is missing. */
export function vmDriver(options: VmDriverOptions): SandboxDriver {
  return new VmDriver(options)
}

class VmDriver implements SandboxDriver {
  readonly name: string = name
  readonly capabilities: SandboxCapabilities
  readonly #clock: Clock
  readonly #parts: GuestParts
  readonly #stateDir: string
  readonly #around: SandboxDriver
  readonly #acceleration: Acceleration
  readonly #controls: string
  #files: GuestFiles | null = null

  constructor({ clock, groups, stateDir, logger, partsRoot }: VmDriverOptions) {
    this.#clock = clock
    this.#parts = findGuestParts(partsRoot ?? null)
    this.#around = bubblewrapDriver({ clock, groups, around: name, ...(logger !== undefined && { logger }) })
    this.#acceleration = lookForHardware()
    this.#stateDir = stateDir
    this.#controls =
      process.getuid?.() === 0 ? '/run/stead-machines' : `${tmpdir()}/stead-machines-${process.getuid?.()}`
    this.capabilities = capabilitiesWith(this.#around.capabilities, this.#acceleration)
  }

  async start(spec: SandboxSpec): Promise<Sandbox> {
    checkSpec(spec)
    refuseBeyond(name, this.capabilities, spec)
    this.#files ??= guestFiles(this.#parts, this.#stateDir)
    const controlDir = this.#controlDirOf(spec.recordDir)
    // Records that are there already are those of a machine that may use its sockets still: the start is refused below.
    const fresh = readRecord(spec.recordDir) === null
    if (fresh) rmSync(controlDir, { recursive: true, force: true })
    const plan = {
      parts: this.#parts,
      madeRoot,
      files: this.#files,
      host: lookAtHost(),
      acceleration: this.#acceleration,
      controlDir,
      cpus: availableParallelism(),
      filter: hexFilter(spec),
    }
    const wrapped = machineSpec(inRoot(spec), plan)
    makeControlDir(this.#controls, controlDir, spec.hostUid)
    try {
      const around = await this.#around.start({ ...wrapped, syscalls: this.#filterAround() })
      writeFileSync(limitsFileOf(spec.recordDir), JSON.stringify(spec.limits), { mode: 0o600 })
      return this.#running(around, spec.recordDir)
    } catch (error) {
      if (fresh) rmSync(controlDir, { recursive: true, force: true })
      throw error
    }
  }

  async adopt(recordDir: string): Promise<Sandbox | null> {
    const around = await this.#around.adopt(recordDir)
    return around === null ? null : this.#running(around, recordDir)
  }

  output(recordDir: string, options: OutputOptions = {}): AsyncIterable<OutputLine> {
    return this.#around.output(recordDir, options)
  }

  dropOldOutput(recordDir: string): number {
    return this.#around.dropOldOutput(recordDir)
  }

  async remove(recordDir: string): Promise<void> {
    await this.#around.remove(recordDir)
    rmSync(this.#controlDirOf(recordDir), { recursive: true, force: true })
  }

  #running(around: Sandbox, recordDir: string): Sandbox {
    return new RunningGuest({
      around,
      clock: this.#clock,
      controlDir: this.#controlDirOf(recordDir),
      limits: limitsOf(recordDir),
    })
  }

  /** The filter of QEMU itself, whatever the program's own is. */
  #filterAround(): SandboxSpec['syscalls'] {
    return this.#around.capabilities.syscallFilter === 'refused' ? 'none' : 'strict'
  }

  /** Short, because the path of a Unix socket is. */
  #controlDirOf(recordDir: string): string {
    return `${this.#controls}/${createHash('sha256').update(recordDir).digest('hex').slice(0, controlName)}`
  }
}

const noLimits: SandboxSpec['limits'] = { memoryBytes: null, cpuCores: null, pidsMax: null, tmpBytes: null }

function limitsFileOf(recordDir: string): string {
  return `${recordDir}/limits.json`
}

/** What the program may use, for the words of its exit; none where its supervisor died before it was written down. */
function limitsOf(recordDir: string): SandboxSpec['limits'] {
  const text = readIfThere(limitsFileOf(recordDir))
  return text === null ? noLimits : { ...noLimits, ...(JSON.parse(text) as Partial<SandboxSpec['limits']>) }
}

function makeControlDir(controls: string, path: string, hostUid: number): void {
  mkdirSync(controls, { recursive: true, mode: 0o711 })
  mkdirSync(path, { recursive: true, mode: 0o700 })
  if (process.getuid?.() === 0) chownSync(path, hostUid, hostUid)
}

function hexFilter(spec: SandboxSpec): string | null {
  const filter = filterOf(spec)
  return filter === null ? null : Buffer.from(filter).toString('hex')
}

/** Whether the processor runs guests itself. Nested and paravirtual ones that run no ordinary kernel do not count. */
function lookForHardware(): Acceleration {
  const emulation = (reason: string): Acceleration => ({ kind: 'emulation', reason })
  if (!/^flags\s*:.*\b(?:vmx|svm)\b/m.test(readFileSync('/proc/cpuinfo', 'latin1')))
    return emulation('the processor, or the machine around this one, offers no virtualisation')
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK)
  } catch {
    return emulation('/dev/kvm is missing or may not be used')
  }
  return { kind: 'kvm', reason: null }
}

function capabilitiesWith(around: SandboxCapabilities, { kind, reason }: Acceleration): SandboxCapabilities {
  return {
    isolation: 'native',
    ownNetwork: around.ownNetwork,
    memoryLimit: 'native',
    cpuLimit: around.cpuLimit,
    pidsLimit: 'native',
    tmpLimit: 'native',
    root: around.root,
    freeze: 'native',
    syscallFilter: around.syscallFilter,
    exec: 'native',
    outputFilter: around.outputFilter,
    ownKernel: 'native',
    console: 'native',
    debugStub: 'native',
    survivesSupervisor: 'native',
    weaker: [
      ...(kind === 'kvm'
        ? ['guests run in hardware (KVM)']
        : [`guests are emulated, ten to twenty times slower than the machine: ${reason}`]),
      ...around.weaker,
    ],
  }
}
