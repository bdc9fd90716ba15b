/**
 * Guests in QEMU: KVM where the processor has it, emulation where not.
 *
 * Invariants: QEMU sees of the host what the guest is given and its own parts, nothing else, and may start no program; every
 * control of a machine exists before its guest runs.
 */
import { accessSync, constants, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import type { Duplex } from 'node:stream'
import { SteadError } from '../../../base/index.ts'
import type { Mount, SandboxCapabilities, SandboxSpec } from '../../driver.ts'
import { filterOf, lookAtHost, madeRoot } from '../bubblewrap.ts'
import { encodeFrame } from './channel.ts'
import { consoleLog, guestMemoryBytes, handedOn, place, runnerScript, shareWith } from './config.ts'
import type { GuestShare } from './config.ts'
import { controls, reach } from './controls.ts'
import type { Control } from './controls.ts'
import { guestFiles } from './initramfs.ts'
import type { GuestFiles } from './initramfs.ts'
import { findGuestParts } from './kernel.ts'
import type { GuestParts } from './kernel.ts'
import type { MeetingPlace, Monitor, PauseOrder } from './monitor.ts'
import { withQmp } from './qmp.ts'

const mebibyte = 2 ** 20
/** What QEMU itself needs beside the guest's memory: translated code, firmware, its own heap. */
const machineBytes = 256 * mebibyte
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
  readonly #acceleration: Acceleration = lookForHardware()
  #files: GuestFiles | null = null

  constructor(parts: GuestParts, stateDir: string) {
    this.#parts = parts
    this.#stateDir = stateDir
  }

  capabilities(around: SandboxCapabilities): SandboxCapabilities {
    const { kind, reason } = this.#acceleration
    return {
      ...around,
      isolation: 'native',
      memoryLimit: 'native',
      pidsLimit: 'native',
      tmpLimit: 'native',
      freeze: 'native',
      exec: 'native',
      ownKernel: 'native',
      console: 'native',
      debugStub: 'native',
      weaker: [
        ...(kind === 'kvm'
          ? []
          : [`guests are emulated, ten to twenty times slower than the machine: ${reason ?? 'no hardware for them'}`]),
        ...around.weaker,
      ],
    }
  }

  around(spec: SandboxSpec, { directory }: MeetingPlace): SandboxSpec {
    this.#files ??= guestFiles(this.#parts, this.#stateDir)
    const filter = filterOf(spec)
    const share = shareWith(spec, {
      host: lookAtHost(),
      madeRoot,
      filter: filter === null ? null : Buffer.from(filter).toString('hex'),
      load: ['network'],
      nameServer,
    })
    const { root } = this.#parts
    const own: readonly Mount[] = [
      { source: this.#files.kernel, target: '/kernel', access: 'read-only' },
      { source: this.#files.initramfs, target: '/initramfs', access: 'read-only' },
      { source: directory, target: '/control', access: 'read-write' },
      ...(root === null ? [] : [{ source: root, target: '/parts', access: 'read-only' as const }]),
    ]
    const libraries = this.#parts.libraries.map((path) => this.#inside(path))
    const { memoryBytes, cpuCores } = spec.limits
    // What only the guest is asked for, the sandbox around it is not.
    const { isolation: _guests, ports: _forwarded, ...common } = spec
    return {
      ...common,
      ...handedOn(spec),
      argv: ['/bin/sh', '-c', runnerScript(':', controlPath('exit')), 'sh', ...this.#args(spec, share)],
      env: { PATH: '/usr/bin:/bin', ...(libraries.length > 0 && { LD_LIBRARY_PATH: libraries.join(':') }) },
      cwd: '/',
      mounts: [...own.map((mount) => ({ ...mount, target: `${place}${mount.target}` })), ...share.mounts],
      files: share.files,
      limits: {
        memoryBytes: memoryBytes === null ? null : guestMemoryBytes(spec.limits) + machineBytes,
        cpuCores,
        pidsMax: null,
        tmpBytes: mebibyte,
      },
    }
  }

  async connect(at: MeetingPlace): Promise<Duplex | null> {
    const socket = await reach(at.directory, 'control', at.hostUid)
    // What an earlier supervisor had run inside is not for this one.
    socket?.write(encodeFrame('N', 0))
    return socket?.unref() ?? null
  }

  readonly pause = (at: MeetingPlace, { paused, clock, isOver }: PauseOrder): Promise<void> =>
    withQmp(
      () => reach(at.directory, 'qmp', at.hostUid),
      clock,
      isOver,
      async (qmp) => void (await qmp.execute(paused ? 'stop' : 'cont')),
    )

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

  #args(spec: SandboxSpec, { hasMounts, hasRoot }: GuestShare): readonly string[] {
    const { cpuCores } = spec.limits
    const cpus = Math.max(1, Math.min(cpusMax, Math.ceil(cpuCores ?? availableParallelism())))
    const hardware = this.#acceleration.kind === 'kvm'
    const socket = (name: Control, more = ''): string =>
      `socket,id=${name},path=${controlPath(name)},server=on,wait=off${more}`
    const forwards = (spec.ports ?? []).map(
      (port, index) => `,hostfwd=tcp:127.0.0.1:${port}-10.0.2.15:${firstRelayPort + index}`,
    )
    const groups: readonly (readonly string[])[] = [
      [this.#inside(this.#parts.qemu), ...this.#parts.firmware.flatMap((path) => ['-L', this.#inside(path)])],
      ['-name', spec.id, '-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
      ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
      ['-M', 'microvm,acpi=on,rtc=on,pic=on,pit=on', '-m', `${guestMemoryBytes(spec.limits) / mebibyte}M`],
      ['-smp', String(cpus), '-cpu', hardware ? 'host' : 'max', '-accel', hardware ? 'kvm' : 'tcg,thread=multi'],
      ['-kernel', `${place}/kernel`, '-initrd', `${place}/initramfs`, '-append', commandLine(hardware)],
      ['-chardev', socket('qmp'), '-mon', 'chardev=qmp,mode=control'],
      ['-chardev', socket('console', `,logfile=${consoleLog}`), '-serial', 'chardev:console'],
      ['-chardev', socket('debugStub'), '-gdb', 'chardev:debugStub'],
      ['-device', 'virtio-serial-device'],
      ['-chardev', 'file,id=output,path=/proc/self/fd/1,append=on'],
      ['-device', 'virtserialport,chardev=output,name=output'],
      ['-chardev', socket('control'), '-device', 'virtserialport,chardev=control,name=control'],
      ['-chardev', `file,id=exit,path=${controlPath('exit')}`, '-device', 'virtserialport,chardev=exit,name=exit'],
      ['-netdev', `user,id=net,ipv6=off${forwards.join('')}`, '-device', 'virtio-net-device,netdev=net'],
      shared('boot', true),
      hasRoot ? shared('root', false) : shared('trees', true),
      hasMounts ? shared('share', false) : [],
    ]
    return groups.flat()
  }
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

/** Quiet, down at once when it fails, and without the measurements of clocks that emulation makes slow or wrong. */
function commandLine(hardware: boolean): string {
  const clocks = hardware ? '' : ' tsc_early_khz=2000000 lpj=4000000 tsc=reliable no_timer_check'
  return `console=ttyS0 quiet panic=-1 reboot=t pci=off nokaslr${clocks}`
}

/** Whether the processor runs guests itself. A machine in a machine that runs no ordinary kernel does not count. */
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
