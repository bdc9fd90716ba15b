/**
 * A whole system on a disk as the program of a service: the option in the app file, checked here. What the system writes is
 * state of the service, so it lies in the app's data and is in checkpoints and returns as any other state is.
 */
import { badOption, checkOptions, isRecord, show } from './check.ts'
import { readFilePath } from './directory.ts'
import type { VmUse } from './graph.ts'
import { seedFilePattern } from './patterns.ts'
import { readState, stateUse } from './state.ts'
import type { Resource } from './values.ts'

/** A system in a machine of its own, with a kernel of its own. `limits` say its memory and processors. */
export interface VmOptions {
  /**
   * The disk that it boots from, a file beside the app file: qcow2 or raw, for x86_64. It is never written: what the system writes
   * lies in the app's data, over restarts and releases.
   */
  readonly disk: string
  /**
   * Files for cloud-init, by name: `user-data`, `meta-data`, `network-config`, `vendor-data`. They stand in the graph, which is no
   * secret. The system finds them on a disk with the label CIDATA, and beside them the environment of the part in `env` and its
   * secrets in `secrets`; cloud-init is told to mount that at /run/stead.
   */
  readonly seed?: Readonly<Record<string, string>>
  /** A kernel that is started directly, in the place of what the disk would start. */
  readonly kernel?: VmKernelOptions
}

/** Files beside the app file. */
export interface VmKernelOptions {
  readonly image: string
  /** What it unpacks first, where it needs modules to find its disk, `/dev/vda`. */
  readonly initrd?: string
  /** Default: `root=/dev/vda1 console=ttyS0`. */
  readonly commandLine?: string
}

/** How long a system may take to switch itself off before it is ended as by a loss of power. */
export const vmStopMs = 60_000

const seedFilesMax = 16
const seedFileCharsMax = 16_000
const commandLineCharsMax = 2000
const commandLineDefault = 'root=/dev/vda1 console=ttyS0'

/** Options of programs, which a system has not, and why. */
const ofPrograms: readonly (readonly [option: string, why: string])[] = [
  ['run', 'What runs in it is on its disk.'],
  ['image', "An image is a program; with isolation: 'kernel' it has a kernel of its own."],
  ['user', 'Its users are its own.'],
  ['writable', 'Its disk can always be written.'],
  ['from', 'Its disk is named in vm.'],
  ['state', 'What it writes to its disk is its state, and needs no other.'],
]

/** The system of a service. Throws `model.bad-option`, `model.unknown-option`. */
export function readVm(owner: string, vm: unknown): VmUse {
  const hint = "As in vm: { disk: './disk.qcow2' }."
  if (!isRecord(vm)) throw badOption(owner, 'vm', 'a plain object', vm, hint)
  checkOptions(owner, vm, ['disk', 'seed', 'kernel'], 'vm')
  const { disk, seed, kernel } = vm
  return {
    disk: readFilePath(owner, 'vm.disk', disk),
    seed: readSeed(owner, seed),
    ...(kernel === undefined ? {} : { kernel: readKernel(owner, kernel) }),
  }
}

/** Refuses what is of programs alone. Throws `model.bad-option`. */
export function refuseOfPrograms(owner: string, options: object): void {
  const given = new Map<string, unknown>(Object.entries(options))
  for (const [option, why] of ofPrograms)
    if (given.get(option) !== undefined)
      throw badOption(owner, option, 'absent where there is vm', given.get(option), why)
  const { isolation, onSecretChange, limits, ready } = Object.fromEntries(given)
  if (isolation !== undefined && isolation !== 'kernel')
    throw badOption(
      owner,
      'isolation',
      "'kernel' or absent where there is vm",
      isolation,
      'It has a kernel of its own.',
    )
  if (onSecretChange !== undefined && onSecretChange !== 'restart')
    throw badOption(
      owner,
      'onSecretChange',
      "'restart' where there is vm",
      onSecretChange,
      'It reads them as it boots.',
    )
  if (isRecord(limits) && limits['processes'] !== undefined)
    throw badOption(owner, 'limits.processes', 'absent where there is vm', limits['processes'], 'It counts its own.')
  if (isRecord(ready) && ready['command'] !== undefined)
    throw badOption(owner, 'ready.command', 'absent where there is vm', ready['command'], 'Ask by http or tcp.')
}

/** What the system writes, as the state of its service. Throws as `readState` does. */
export function diskState(owner: string, name: string, replicas: number): Readonly<Record<string, Resource<'state'>>> {
  return { [stateUse]: readState(owner, name, { dir: `${name}-disk` }, replicas) }
}

function readSeed(owner: string, seed: unknown): VmUse['seed'] {
  const hint = "As in seed: { 'user-data': '#cloud-config\\n...' }."
  if (seed === undefined) return {}
  if (!isRecord(seed)) throw badOption(owner, 'vm.seed', 'a plain object', seed, hint)
  const files = Object.entries(seed).map(([name, content]): readonly [string, string] => {
    if (!seedFilePattern.test(name)) {
      const rule = 'the name of a file other than env and secrets, which are there already'
      throw badOption(owner, 'a name in vm.seed', rule, name, hint)
    }
    if (typeof content === 'string' && content.length <= seedFileCharsMax && !content.includes('\0'))
      return [name, content]
    const found = typeof content === 'string' ? `${content.length} characters` : show(content)
    throw badOption(owner, `vm.seed.${name}`, `a text of at most ${seedFileCharsMax} characters`, found, hint)
  })
  if (files.length > seedFilesMax)
    throw badOption(owner, 'vm.seed', `at most ${seedFilesMax} files`, `${files.length} files`, hint)
  return Object.fromEntries(files.sort(([a], [b]) => (a < b ? -1 : 1)))
}

function readKernel(owner: string, kernel: unknown): NonNullable<VmUse['kernel']> {
  const hint = "As in kernel: { image: './vmlinuz', initrd: './initrd.img' }."
  if (!isRecord(kernel)) throw badOption(owner, 'vm.kernel', 'a plain object', kernel, hint)
  checkOptions(owner, kernel, ['image', 'initrd', 'commandLine'], 'vm.kernel')
  const { image, initrd, commandLine = commandLineDefault } = kernel
  if (typeof commandLine !== 'string' || commandLine.length > commandLineCharsMax || /[\p{Cc}]/u.test(commandLine)) {
    const rule = `one line of at most ${commandLineCharsMax} characters`
    throw badOption(owner, 'vm.kernel.commandLine', rule, commandLine, `Default: '${commandLineDefault}'.`)
  }
  return {
    image: readFilePath(owner, 'vm.kernel.image', image),
    ...(initrd === undefined ? {} : { initrd: readFilePath(owner, 'vm.kernel.initrd', initrd) }),
    commandLine,
  }
}
