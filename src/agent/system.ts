/**
 * A part that is a whole system: its disk lies in the bundle and is never written, what it writes lies in the state of the
 * service, and what a program would find in its environment and its files lies on a small disk beside.
 *
 * Invariant: what a system has written is only ever laid over the disk that it was written on.
 */
import { lstatSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Bundle } from '../artifact/index.ts'
import { SteadError } from '../base/index.ts'
import type { VmUse } from '../model/index.ts'
import type { InstanceAssignment } from '../protocol/index.ts'
import type { Disk, SandboxSpec } from '../sandbox/index.ts'
import type { StatePlace } from './state.ts'

/** Where a system with cloud-init finds the disk beside its own. */
const seedDir = '/run/stead'
/** Beside the mark of the state: the digest of the disk that was written over. */
const baseFile = 'disk'
/** In the bundle, with the format as its end. */
const diskName = /^disk\.(qcow2|raw)$/

export interface SystemParts {
  readonly assignment: InstanceAssignment
  readonly bundle: Bundle
  readonly state: StatePlace | null
  /** Where secrets lie among the files of the program. */
  readonly secretsDir: string
}

/**
 * The spec of a program made that of the system that its part is; a program stays as it is. Throws `agent.no-disk`,
 * `agent.no-network`, `agent.other-disk`.
 */
export function systemOf(program: SandboxSpec, parts: SystemParts): SandboxSpec {
  const { assignment, bundle, state, secretsDir } = parts
  const { vm } = assignment
  if (vm === undefined) return program
  const found = bundle.manifest.files.find((file) => file.kind === 'file' && diskName.test(file.path))
  if (found?.kind !== 'file' || state === null) throw noDisk(assignment)
  if (program.network === null) throw noNetwork(assignment)
  keepToBase(state, found.sha256, assignment)
  const secrets = program.files.filter(({ path }) => path.startsWith(`${secretsDir}/`))
  const disk: Disk = {
    path: join(bundle.path, found.path),
    format: diskName.exec(found.path)?.[1] === 'raw' ? 'raw' : 'qcow2',
    writtenDir: state.filesDir,
    seed: seedOf(vm, assignment, {
      env: envFile(program.env),
      ...Object.fromEntries(secrets.map(({ path, content }) => [path.slice(dirname(secretsDir).length + 1), content])),
    }),
    ...kernelOf(vm, bundle),
  }
  const { root: _root, devices: _devices, ...common } = program
  return {
    ...common,
    env: {},
    mounts: [],
    // By these what carries its packets looks up names.
    files: program.files.filter(({ path }) => path === '/etc/resolv.conf'),
    disk,
  }
}

function kernelOf({ kernel }: VmUse, bundle: Bundle): Partial<Pick<Disk, 'kernel'>> {
  if (kernel === undefined) return {}
  const initrd = kernel.initrd === undefined ? {} : { initrd: join(bundle.path, 'initrd') }
  return { kernel: { path: join(bundle.path, 'kernel'), ...initrd, commandLine: kernel.commandLine } }
}

/** What the app file says comes before what the platform says. */
function seedOf(vm: VmUse, { part }: InstanceAssignment, told: Disk['seed']): Disk['seed'] {
  // Before anything else at each boot, and without a word where it is mounted already.
  const mount = `mkdir -p ${seedDir} && { mountpoint -q ${seedDir} || mount -o ro LABEL=CIDATA ${seedDir}; }`
  return {
    // The same at each start and on every copy of its data, so that what is done once is done once.
    'meta-data': `instance-id: ${part}\nlocal-hostname: ${part}\n`,
    'user-data': '#cloud-config\n{}\n',
    'vendor-data': `#cloud-config\n${JSON.stringify({ bootcmd: [['sh', '-c', mount]] })}\n`,
    ...vm.seed,
    ...told,
  }
}

/** As shells and systemd read it: a line for each variable. */
function envFile(env: SandboxSpec['env']): string {
  return Object.entries({ ...env, STEAD_SECRETS: `${seedDir}/secrets` })
    .filter(([name]) => name !== 'STEAD_STATE_DIR')
    .map(([name, value]) => `${name}='${value.replaceAll("'", `'\\''`)}'\n`)
    .join('')
}

/** Throws `agent.other-disk` when what was written belongs to another disk than the one of the bundle. */
function keepToBase({ filesDir, markPath }: StatePlace, digest: string, { part }: InstanceAssignment): void {
  const path = join(dirname(markPath), baseFile)
  const isWritten = lstatSync(join(filesDir, 'disk.qcow2'), { throwIfNoEntry: false }) !== undefined
  const known = isWritten ? readIfThere(path) : null
  if (known === digest) return
  if (!isWritten) return writeFileSync(path, digest, { mode: 0o600, flush: true })
  throw new SteadError({
    code: 'agent.other-disk',
    message: `the disk of ${part} is not the one that its data was written on (${known?.slice(0, 12) ?? 'unknown'}): put that one back, or give the part another name, under which it begins anew`,
    hint: `The disk that is there now is ${digest.slice(0, 12)}.`,
  })
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}

function noDisk({ part }: InstanceAssignment): SteadError {
  return new SteadError({
    code: 'agent.no-disk',
    message: `${part} is a system on a disk, and its bundle or its state is not that of one`,
    hint: 'Deploy it again with this Stead.',
  })
}

function noNetwork({ part }: InstanceAssignment): SteadError {
  return new SteadError({
    code: 'agent.no-network',
    message: `${part} is a system on a disk, and this node gives its instances no network of their own`,
    hint: 'See `stead doctor`: it says what this machine lacks.',
  })
}
