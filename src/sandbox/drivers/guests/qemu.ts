/**
 * Guests in QEMU: KVM where the processor has it, emulation where not.
 *
 * Invariants: QEMU sees of the host what the guest is given and its own parts, nothing else, and may start no program; every
 * control of a machine exists before its guest runs.
 */
import { chownSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, dirname } from 'node:path'
import type { Duplex } from 'node:stream'
import { SteadError } from '../../../base/index.ts'
import type { Disk, MachineSnapshot, Mount, SandboxCapabilities, SandboxSpec, Support } from '../../driver.ts'
import { filterOf, lookAtHost, madeRoot } from '../bubblewrap.ts'
import { encodeFrame } from './channel.ts'
import {
  consoleLog,
  diskMemoryBytes,
  diskRunner,
  guestMemoryBytes,
  handedOn,
  place,
  runnerScript,
  shareWith,
} from './config.ts'
import type { GuestShare } from './config.ts'
import { controls, reach } from './controls.ts'
import type { Control } from './controls.ts'
import { counterRate } from './counter.ts'
import type { CounterRate } from './counter.ts'
import { checkKernel, readDisk } from './disk-file.ts'
import { guestFiles } from './initramfs.ts'
import type { GuestFiles } from './initramfs.ts'
import { findGuestParts, unavailable } from './kernel.ts'
import type { GuestParts } from './kernel.ts'
import type { MachineOrder, MeetingPlace, Monitor, Waiting } from './monitor.ts'
import { accepts, obey } from './qemu-orders.ts'
import { withQmp } from './qmp.ts'

const mebibyte = 2 ** 20
/** What QEMU itself needs beside the guest's memory: translated code, firmware, its own heap. */
const machineBytes = 256 * mebibyte
/** Left to itself it keeps as much translated code as the host has memory for, and more than it is given. */
const emulation = 'tcg,thread=multi,tb-size=128'
const cpusMax = 8
const firstRelayPort = 40_000
/** QEMU leads this address to the name server of its own network. */
const nameServer = '10.0.2.3'

/** How QEMU runs guests here. */
export interface Acceleration {
  readonly kind: 'kvm' | 'emulation'
  /** Why not in hardware. */
  readonly reason: string | null
}

/** Looks for QEMU and a kernel. Throws `sandbox.unavailable`. */
export function qemuMonitor(partsRoot: string | null, stateDir: string): Monitor {
  return new QemuMonitor(findGuestParts(partsRoot), stateDir)
}

class QemuMonitor implements Monitor {
  readonly name: string = 'vm'
  readonly #parts: GuestParts
  readonly #stateDir: string
  readonly devices: readonly string[]
  readonly #acceleration: Acceleration = lookForHardware()
  readonly #counter: CounterRate = counterRate(readFileSync('/proc/cpuinfo', 'latin1'))
  #files: Promise<GuestFiles> | null = null
  #made: GuestFiles | null = null

  constructor(parts: GuestParts, stateDir: string) {
    this.#parts = parts
    this.#stateDir = stateDir
    this.devices = this.#acceleration.kind === 'kvm' ? ['/dev/kvm'] : []
  }

  capabilities(around: SandboxCapabilities): SandboxCapabilities {
    const { kind, reason } = this.#acceleration
    const held = (can: boolean): Support => (can ? 'native' : 'refused')
    return {
      ...around,
      // Threads of the program are not those that run it.
      deadlineCpu: 'refused',
      fifoCpu: 'refused',
      devices: 'refused',
      isolation: 'native',
      memoryLimit: 'native',
      pidsLimit: 'native',
      tmpLimit: 'native',
      freeze: 'native',
      exec: 'native',
      ownKernel: 'native',
      console: 'native',
      debugStub: 'native',
      disk: held(this.#parts.image !== null),
      snapshot: held(this.#parts.image !== null),
      weaker: [
        ...(kind === 'kvm'
          ? []
          : [
              `guests are emulated, ten to twenty times slower than the machine: ${reason ?? 'no hardware for them'}`,
              ...(this.#counter.weaker === null ? [] : [this.#counter.weaker]),
            ]),
        ...around.weaker,
      ],
    }
  }

  async prepare(): Promise<void> {
    try {
      this.#made = await (this.#files ??= guestFiles(this.#parts, this.#stateDir))
    } catch (error) {
      // What was missing may be there the next time.
      this.#files = null
      throw error
    }
  }

  around(spec: SandboxSpec, at: MeetingPlace): SandboxSpec {
    return spec.disk === undefined ? this.#aroundGuest(spec, at) : this.#aroundDisk(spec, spec.disk, at)
  }

  /** A system on a disk: QEMU as an ordinary computer, which finds the disk by itself. */
  #aroundDisk(spec: SandboxSpec, disk: Disk, at: MeetingPlace): SandboxSpec {
    const image = this.#parts.image
    if (image === null)
      throw unavailable('There is no qemu-img on this machine, which a disk needs.', 'Install qemu-utils (apt-get).')
    const { kernel } = disk
    readDisk(disk.path, kernel !== undefined)
    if (kernel !== undefined) checkKernel(kernel.path)
    const written = disk.writtenDir ?? this.#makeWrittenDir(at)
    const { isolation: _guests, ports: _forwarded, disk: _disk, ...common } = spec
    const seed = Object.entries(disk.seed)
    const over = `${place}/written/${writtenFile}`
    const boots: readonly Mount[] = Object.entries({ kernel: kernel?.path, initrd: kernel?.initrd }).flatMap(
      ([name, source]) =>
        source === undefined ? [] : [{ source, target: `${place}/boot/${name}`, access: 'read-only' as const }],
    )
    return {
      ...common,
      argv: [
        '/bin/sh',
        '-c',
        diskRunner(this.#inside(image), { format: disk.format, over }, controlPath('exit')),
        'sh',
        ...this.#diskArgs(spec, disk, over),
      ],
      env: this.#env(),
      cwd: '/',
      mounts: [
        ...this.#partsMounts(at),
        { source: disk.path, target: `${place}/disk`, access: 'read-only' },
        { source: written, target: `${place}/written`, access: 'read-write' },
        ...boots,
      ],
      files: [
        ...spec.files,
        ...seed.map(([path, content]) => ({ path: `${place}/seed/${path}`, content, mode: 0o400 })),
      ],
      limits: this.#limits(spec, diskMemoryBytes(spec.limits)),
    }
  }

  #makeWrittenDir(at: MeetingPlace): string {
    const written = this.#writtenDir(at)
    mkdirSync(dirname(written), { recursive: true, mode: 0o711 })
    mkdirSync(written, { mode: 0o700 })
    if (process.getuid?.() === 0) chownSync(written, at.hostUid, at.hostUid)
    return written
  }

  #aroundGuest(spec: SandboxSpec, at: MeetingPlace): SandboxSpec {
    const made = this.#made
    if (made === null) throw new Error('a guest is started before it was prepared')
    const filter = filterOf(spec)
    const share = shareWith(spec, {
      host: lookAtHost(),
      madeRoot,
      filter: filter === null ? null : Buffer.from(filter).toString('hex'),
      load: ['network'],
      nameServer,
    })
    const own: readonly Mount[] = [
      { source: made.kernel, target: `${place}/kernel`, access: 'read-only' },
      { source: made.initramfs, target: `${place}/initramfs`, access: 'read-only' },
      ...this.#partsMounts(at),
    ]
    // What only the guest is asked for, the sandbox around it is not.
    const { isolation: _guests, ports: _forwarded, ...common } = spec
    return {
      ...common,
      ...handedOn(spec),
      argv: ['/bin/sh', '-c', runnerScript(':', controlPath('exit')), 'sh', ...this.#args(spec, share)],
      env: this.#env(),
      cwd: '/',
      mounts: [...own, ...share.mounts],
      files: share.files,
      limits: this.#limits(spec, guestMemoryBytes(spec.limits)),
    }
  }

  #partsMounts({ directory }: MeetingPlace): readonly Mount[] {
    const { root } = this.#parts
    return [
      { source: directory, target: `${place}/control`, access: 'read-write' },
      ...(root === null ? [] : [{ source: root, target: `${place}/parts`, access: 'read-only' as const }]),
    ]
  }

  #env(): Readonly<Record<string, string>> {
    const libraries = this.#parts.libraries.map((path) => this.#inside(path))
    return { PATH: '/usr/bin:/bin', ...(libraries.length > 0 && { LD_LIBRARY_PATH: libraries.join(':') }) }
  }

  /** Those of the sandbox around: the guest holds the program's own. */
  #limits({ limits: { memoryBytes, cpuCores } }: SandboxSpec, guestBytes: number): SandboxSpec['limits'] {
    return {
      memoryBytes: memoryBytes === null ? null : guestBytes + machineBytes,
      cpuCores,
      pidsMax: null,
      tmpBytes: mebibyte,
    }
  }

  async connect(at: MeetingPlace): Promise<Duplex | null> {
    const socket = await reach(at.directory, 'control', at.hostUid)
    // What an earlier supervisor had run inside is not for this one.
    socket?.write(encodeFrame('N', 0))
    return socket?.unref() ?? null
  }

  readonly order = (
    at: MeetingPlace,
    order: MachineOrder,
    { clock, isOver }: Waiting,
  ): Promise<readonly MachineSnapshot[]> =>
    withQmp(
      () => reach(at.directory, 'qmp', at.hostUid),
      clock,
      isOver,
      (qmp) => obey(qmp, order),
    )

  readonly accepts = (at: MeetingPlace, port: number, { clock, isOver }: Waiting): Promise<boolean> =>
    withQmp(
      () => reach(at.directory, 'qmp', at.hostUid),
      clock,
      isOver,
      (qmp) => accepts(qmp, port),
    )

  forget(at: MeetingPlace): void {
    rmSync(this.#writtenDir(at), { recursive: true, force: true })
  }

  /** Where a system booted from a disk keeps what it writes. */
  #writtenDir({ directory }: MeetingPlace): string {
    return `${this.#stateDir}/disks/${basename(directory)}`
  }

  ways(at: MeetingPlace, id: string): ReturnType<Monitor['ways']> {
    const open = async (control: Control): Promise<Duplex> => {
      const socket = await reach(at.directory, control, at.hostUid)
      if (socket !== null) return socket
      throw new SteadError({
        code: 'sandbox.ended',
        message: `The ${control === 'console' ? 'console' : 'debugger'} of ${id} cannot be reached: its machine has ended, or has not begun.`,
        hint: 'Its exit and its output tell how.',
        retry: 'later',
      })
    }
    return {
      console: () => open('console'),
      debugStub: `${at.directory}/${controls.debugStub}`,
      debugger: () => open('debugStub'),
    }
  }

  /** A path of QEMU's parts as the sandbox around sees it. */
  #inside(path: string): string {
    const { root } = this.#parts
    return root === null ? path : `${place}/parts${path.slice(root.length)}`
  }

  /** What every machine has: its hardware, and its ways in. */
  #common(spec: SandboxSpec, machine: string, memoryBytes: number, log: string): readonly string[] {
    const { cpuCores } = spec.limits
    const cpus = Math.max(1, Math.min(cpusMax, Math.ceil(cpuCores ?? availableParallelism())))
    const hardware = this.#acceleration.kind === 'kvm'
    const groups: readonly (readonly string[])[] = [
      [this.#inside(this.#parts.qemu), ...this.#parts.firmware.flatMap((path) => ['-L', this.#inside(path)])],
      ['-name', spec.id, '-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
      ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
      ['-M', machine, '-m', `${memoryBytes / mebibyte}M`],
      ['-smp', String(cpus), '-cpu', hardware ? 'host' : 'max', '-accel', hardware ? 'kvm' : emulation],
      ['-chardev', socket('qmp'), '-mon', 'chardev=qmp,mode=control'],
      ['-chardev', socket('console', `,logfile=${log}`), '-serial', 'chardev:console'],
      ['-chardev', socket('debugStub'), '-gdb', 'chardev:debugStub'],
    ]
    return groups.flat()
  }

  #args(spec: SandboxSpec, { hasMounts, hasRoot }: GuestShare): readonly string[] {
    const hardware = this.#acceleration.kind === 'kvm'
    const groups: readonly (readonly string[])[] = [
      this.#common(spec, 'microvm,acpi=on,rtc=on,pic=on,pit=on', guestMemoryBytes(spec.limits), consoleLog),
      [
        '-kernel',
        `${place}/kernel`,
        '-initrd',
        `${place}/initramfs`,
        '-append',
        commandLine(hardware ? null : this.#counter),
      ],
      ['-device', 'virtio-serial-device'],
      ['-chardev', `file,id=output,path=${ownOutput},append=on`],
      ['-device', 'virtserialport,chardev=output,name=output'],
      ['-chardev', socket('control'), '-device', 'virtserialport,chardev=control,name=control'],
      ['-chardev', `file,id=exit,path=${controlPath('exit')}`, '-device', 'virtserialport,chardev=exit,name=exit'],
      ['-netdev', network(spec, (index) => firstRelayPort + index), '-device', 'virtio-net-device,netdev=net'],
      shared('boot', true),
      hasRoot ? shared('root', false) : shared('trees', true),
      hasMounts ? shared('share', false) : [],
    ]
    return groups.flat()
  }

  #diskArgs(spec: SandboxSpec, { seed, kernel }: Disk, over: string): readonly string[] {
    const seedDisk = `driver=vvfat,node-name=seed,dir=${place}/seed,label=CIDATA,read-only=on`
    // A system whose disk has no more room hears of it, where QEMU by itself would stop it without a word.
    const drive = `file=${over},format=qcow2,if=none,id=disk,werror=report,rerror=report`
    // A kernel that is named is what is booted first.
    const first = kernel === undefined ? ',bootindex=0' : ''
    const groups: readonly (readonly string[])[] = [
      this.#common(spec, 'q35', diskMemoryBytes(spec.limits), `${ownOutput},logappend=on`),
      kernel === undefined ? [] : ['-kernel', `${place}/boot/kernel`, '-append', kernel.commandLine],
      kernel?.initrd === undefined ? [] : ['-initrd', `${place}/boot/initrd`],
      ['-drive', drive, '-device', `virtio-blk-pci,drive=disk${first}`],
      Object.keys(seed).length === 0 ? [] : ['-blockdev', seedDisk, '-device', 'virtio-blk-pci,drive=seed'],
      ['-netdev', network(spec, (_index, port) => port), '-device', 'virtio-net-pci,netdev=net,romfile='],
    ]
    return groups.flat()
  }
}

/** What a system writes, in the directory for it. */
const writtenFile = 'disk.qcow2'

/** The output of the sandbox around, opened again. */
const ownOutput = '/proc/self/fd/1'

function socket(name: Control, more = ''): string {
  return `socket,id=${name},path=${controlPath(name)},server=on,wait=off${more}`
}

/** QEMU dials for the guest, and listens where the place is asked for its ports. */
function network(spec: SandboxSpec, guestPort: (index: number, port: number) => number): string {
  const forwards = (spec.ports ?? []).map(
    (port, index) => `,hostfwd=tcp:127.0.0.1:${port}-10.0.2.15:${guestPort(index, port)}`,
  )
  return `user,id=net,ipv6=off${forwards.join('')}`
}

function controlPath(control: Control): string {
  return `${place}/control/${controls[control]}`
}

/** A directory below the place, by the file system that QEMU serves itself. */
function shared(tag: string, readOnly: boolean): readonly string[] {
  const access = readOnly ? ',readonly=on' : ''
  return [
    '-fsdev',
    `local,id=${tag},path=${place}/${tag},security_model=none,multidevs=remap${access}`,
    '-device',
    `virtio-9p-device,fsdev=${tag},mount_tag=${tag}`,
  ]
}

/** Quiet, down at once when it fails, and, where it is emulated, told what it cannot measure. */
function commandLine(counter: CounterRate | null): string {
  const clocks = counter === null ? '' : ` tsc_early_khz=${counter.kilohertz} tsc=reliable no_timer_check`
  return `console=ttyS0 quiet panic=-1 reboot=t pci=off nokaslr${clocks}`
}

/** Whether the processor runs guests itself. A machine in a machine that runs no ordinary kernel does not count. */
function lookForHardware(): Acceleration {
  const emulation = (reason: string): Acceleration => ({ kind: 'emulation', reason })
  if (!/^flags\s*:.*\b(?:vmx|svm)\b/m.test(readFileSync('/proc/cpuinfo', 'latin1')))
    return emulation('the processor, or the machine around this one, offers no virtualisation')
  const device = statSync('/dev/kvm', { throwIfNoEntry: false })
  if (device === undefined) return emulation('there is no /dev/kvm')
  // A workload's user is nobody's: it comes in by the device's group, which must not be that of root.
  const open = (device.mode & 0o006) === 0o006 || ((device.mode & 0o060) === 0o060 && device.gid !== 0)
  return open ? { kind: 'kvm', reason: null } : emulation('/dev/kvm is root’s alone: give it to a group (chgrp kvm)')
}
