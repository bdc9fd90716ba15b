/**
 * Guests in User-mode Linux: a kernel that is a program. It needs no hardware and no emulator, and is labelled as what it is:
 * its processes are processes of the host that it traces, so whoever breaks out of its kernel stands in the sandbox around it,
 * as with any other program. Its own calls are slow, some fifty times those of the host.
 *
 * Invariant: it sees of the host what the guest is given, by a file system of its own that opens files as the workload's user.
 */
import { existsSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { SteadError } from '../../../base/index.ts'
import type { SandboxCapabilities, SandboxSpec } from '../../driver.ts'
import { filterOf, lookAtHost, madeRoot } from '../bubblewrap.ts'
import { findProgram } from '../programs.ts'
import { consoleLog, guestMemoryBytes, handedOn, place, runnerScript, shareWith } from './config.ts'
import { controls, reachPipes } from './controls.ts'
import type { Control } from './controls.ts'
import { firstRoot } from './initramfs.ts'
import { noModules, unavailable } from './kernel.ts'
import type { MeetingPlace, Monitor } from './monitor.ts'

const mebibyte = 2 ** 20
/** What the kernel itself needs beside the guest's memory. */
const kernelBytes = 64 * mebibyte

/** Looks for User-mode Linux: the system's, or that of packages unpacked below a root. Throws `sandbox.unavailable`. */
export function umlMonitor(partsRoot: string | null, stateDir: string): Monitor {
  const own = `${partsRoot}/usr/bin/linux.uml`
  const kernel = partsRoot === null ? findProgram('linux.uml') : existsSync(own) ? own : null
  if (process.arch !== 'x64' || kernel === null) {
    throw unavailable(
      `There is no User-mode Linux on this machine (${process.arch}): the program linux.uml is missing.`,
      'Install user-mode-linux (apt-get install --no-install-recommends user-mode-linux).',
    )
  }
  return new UmlMonitor(kernel, stateDir)
}

class UmlMonitor implements Monitor {
  readonly name: string = 'uml'
  /** The sandbox around stops it, with all its processes. */
  readonly order: null = null
  readonly accepts: null = null
  readonly devices: readonly string[] = []
  readonly #kernel: string
  readonly #stateDir: string
  #initramfs: string | null = null

  constructor(kernel: string, stateDir: string) {
    this.#kernel = kernel
    this.#stateDir = stateDir
  }

  capabilities(around: SandboxCapabilities): SandboxCapabilities {
    return {
      ...around,
      // Threads of the program are not those that run it.
      deadlineCpu: 'refused',
      fifoCpu: 'refused',
      devices: 'refused',
      isolation: 'native',
      ownNetwork: 'refused',
      memoryLimit: 'native',
      pidsLimit: 'native',
      tmpLimit: 'native',
      exec: 'native',
      // It has no such calls.
      syscallFilter: 'refused',
      ownKernel: 'emulated',
      console: 'refused',
      debugStub: 'refused',
      weaker: [
        'the kernel of a guest is a program (User-mode Linux): what breaks out of it stands in the sandbox around it, and system calls take some fifty times as long',
        'guests have no network, and there is no filter on what a guest asks of its own kernel',
        ...around.weaker,
      ],
    }
  }

  prepare(): Promise<void> {
    this.#initramfs ??= firstRoot(noModules, this.#stateDir)
    return Promise.resolve()
  }

  around(spec: SandboxSpec, { directory }: MeetingPlace): SandboxSpec {
    const initramfs = this.#initramfs
    if (initramfs === null) throw new Error('a guest is started before it was prepared')
    const filter = spec.syscalls === 'none' ? null : filterOf(spec)
    const share = shareWith(spec, {
      host: lookAtHost(),
      madeRoot,
      filter: filter === null ? null : Buffer.from(filter).toString('hex'),
      load: [],
      nameServer: null,
    })
    const memoryBytes = guestMemoryBytes(spec.limits)
    const { isolation: _guests, ports: _none, ...common } = spec
    return {
      ...common,
      ...handedOn(spec),
      argv: ['/bin/sh', '-c', runnerScript(prepare, controlPath('exit')), 'sh', ...kernelArgs(memoryBytes)],
      env: { PATH: '/usr/bin:/bin', HOME: '/tmp', TMPDIR: '/tmp' },
      cwd: '/tmp',
      mounts: [
        { source: this.#kernel, target: `${place}/kernel`, access: 'read-only' },
        { source: initramfs, target: `${place}/initramfs`, access: 'read-only' },
        { source: directory, target: `${place}/control`, access: 'read-write' },
        ...share.mounts,
      ],
      files: share.files,
      limits: {
        memoryBytes: spec.limits.memoryBytes === null ? null : memoryBytes + kernelBytes,
        cpuCores: spec.limits.cpuCores,
        pidsMax: null,
        // Its memory is a file there.
        tmpBytes: memoryBytes + mebibyte,
      },
    }
  }

  forget(): void {
    // All of it is in memory.
  }

  connect(at: MeetingPlace): Promise<Duplex | null> {
    return Promise.resolve(reachPipes(at.directory, at.hostUid))
  }

  ways(_at: MeetingPlace, id: string): ReturnType<Monitor['ways']> {
    const refuse = (what: string): never => {
      throw new SteadError({
        code: 'sandbox.refused',
        message: `The uml sandbox driver gives ${id} no ${what}.`,
        hint: 'Use the vm driver.',
      })
    }
    return {
      console: () => refuse('console of its kernel'),
      get debugStub(): never {
        return refuse('debugger for its kernel')
      },
      debugger: () => refuse('debugger for its kernel'),
    }
  }
}

/** The pipes that it is reached by; the file of the exit is the last that is made. */
const prepare = [
  `mkfifo ${controlPath('orders')} ${controlPath('answers')}`,
  `exec 5<>${controlPath('orders')} 6<>${controlPath('answers')} 7>${consoleLog}`,
  `: >${controlPath('ready')}`,
  `: >${controlPath('exit')}`,
].join('\n')

function controlPath(control: Control): string {
  return `${place}/control/${controls[control]}`
}

/** The kernel itself speaks into the log, the program into the output, the first program into the pipes. */
const quietly = 'con=null con0=null,fd:7 con1=null,fd:1 ssl=null ssl0=fd:5,fd:6 console=tty0 quiet panic=-1'.split(' ')

function kernelArgs(memoryBytes: number): readonly string[] {
  return [
    `${place}/kernel`,
    `mem=${memoryBytes / mebibyte}M`,
    `initrd=${place}/initramfs`,
    ...quietly,
    'stead.guest=uml',
  ]
}
