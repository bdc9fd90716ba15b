/**
 * Checks of a spec before anything is done with it. Pure.
 *
 * Invariant: what passes can be put into argument lists, file names and limit groups as it is; every size has a bound.
 */
import { SteadError } from '../base/index.ts'
import { problemOfCpu } from './cpu-class.ts'
import type { HostIds, RootTree, SandboxSpec } from './driver.ts'

/** Bounds of a spec. Inline files must fit into a socket's buffer, because they are handed over before the program runs. */
export const specLimits: Readonly<
  Record<
    | 'idLengthMax'
    | 'argvBytesMax'
    | 'envBytesMax'
    | 'mountsMax'
    | 'filesMax'
    | 'inlineFileBytesMax'
    | 'rootLayersMax'
    | 'outputBytesMin'
    | 'outputBytesMax',
    number
  >
> = {
  idLengthMax: 63,
  argvBytesMax: 100 * 1024,
  envBytesMax: 100 * 1024,
  mountsMax: 100,
  filesMax: 32,
  inlineFileBytesMax: 64 * 1024,
  rootLayersMax: 128,
  outputBytesMin: 1024 ** 2,
  outputBytesMax: 1024 ** 3,
}

/** Where nothing may be mounted and no file laid: the sandbox makes these itself. */
const reservedTargets = ['/', '/proc', '/dev', '/sys', '/usr', '/bin', '/lib', '/lib64', '/sbin', '/.stead']
/** What is never handed in from the host, nor anything below it: it would undo the isolation. */
const forbiddenSources = ['/proc', '/sys', '/dev']

/** Whether `path` is `root` or lies below it. */
export function isWithin(path: string, root: string): boolean {
  return path === root || path.startsWith(root === '/' ? '/' : `${root}/`)
}

/** Throws `sandbox.bad-spec`, naming the field, when a spec cannot be started as it is on any driver. */
export function checkSpec(spec: SandboxSpec): void {
  const wrong = problemOf(spec)
  if (wrong === null) return
  throw new SteadError({
    code: 'sandbox.bad-spec',
    message: `The sandbox ${JSON.stringify(spec.id)} cannot be started: ${wrong}.`,
    hint: 'This is a mistake of the caller; correct the spec.',
  })
}

function problemOf(spec: SandboxSpec): string | null {
  if (!/^[A-Za-z0-9][A-Za-z0-9.-]*$/.test(spec.id) || spec.id.length > specLimits.idLengthMax) {
    return `its id must be letters, digits, dots and dashes, at most ${specLimits.idLengthMax}`
  }
  if (spec.argv.length === 0 || spec.argv[0] === '') return 'argv is empty'
  if (bytesOf(spec.argv) > specLimits.argvBytesMax) return `argv is longer than ${specLimits.argvBytesMax} bytes`
  if (bytesOf(Object.entries(spec.env).flat()) > specLimits.envBytesMax) {
    return `env is longer than ${specLimits.envBytesMax} bytes`
  }
  const badName = Object.keys(spec.env).find((name) => !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
  if (badName !== undefined) return `${JSON.stringify(badName)} is no name of an environment variable`
  if ([...spec.argv, ...Object.values(spec.env)].some((text) => text.includes('\0')))
    return 'argv or env holds a NUL byte'
  if (!Number.isInteger(spec.hostUid) || spec.hostUid < 1 || spec.hostUid > 2 ** 31) {
    return 'hostUid must be a user id other than 0'
  }
  const limits: readonly (number | null)[] = [
    spec.limits.cpuCores,
    spec.limits.memoryBytes,
    spec.limits.pidsMax,
    spec.limits.tmpBytes,
  ]
  if (limits.some((limit) => limit !== null && !(limit > 0 && Number.isFinite(limit))))
    return 'a limit is not above zero'
  if (spec.outputBytesMax < specLimits.outputBytesMin || spec.outputBytesMax > specLimits.outputBytesMax) {
    return `outputBytesMax must be from ${specLimits.outputBytesMin} to ${specLimits.outputBytesMax}`
  }
  const cpuProblem = spec.cpu === undefined ? null : problemOfCpu(spec.cpu)
  return cpuProblem ?? pathProblemOf(spec)
}

function pathProblemOf(spec: SandboxSpec): string | null {
  const paths = [
    spec.cwd,
    spec.recordDir,
    ...(spec.filterFile === undefined ? [] : [spec.filterFile]),
    ...(spec.devices ?? []),
    ...spec.mounts.flatMap((mount) => [mount.source, mount.target]),
    ...spec.files.map((file) => file.path),
    ...(spec.root?.layers ?? []),
    ...(spec.root?.scratch ?? []),
  ]
  const unclean = paths.find(
    (path) => !/^\/(?:[^/\0\n]+(?:\/[^/\0\n]+)*)?$/.test(path) || /\/\.{1,2}(?:\/|$)/.test(path),
  )
  if (unclean !== undefined) return `${JSON.stringify(unclean)} is not an absolute path without dots and double slashes`
  const rootProblem = spec.root === undefined ? null : problemOfRoot(spec.root, spec.hostUid)
  if (rootProblem !== null) return rootProblem
  if (spec.mounts.length > specLimits.mountsMax) return `more than ${specLimits.mountsMax} mounts`
  if (spec.files.length > specLimits.filesMax) return `more than ${specLimits.filesMax} inline files`
  const strange = spec.devices?.find((device) => !isWithin(device, '/dev') || device === '/dev')
  if (strange !== undefined) return `${strange} is no device below /dev`
  for (const { source, target } of spec.mounts) {
    if (reservedTargets.includes(target)) return `nothing can be mounted at ${target}`
    if (neverGiven(source)) return `${source} is never handed into a sandbox`
  }
  for (const file of spec.files) {
    if (Buffer.byteLength(file.content) > specLimits.inlineFileBytesMax) {
      return `the inline file ${file.path} is larger than ${specLimits.inlineFileBytesMax} bytes`
    }
    if (!Number.isInteger(file.mode) || file.mode < 0 || file.mode > 0o777)
      return `the mode of ${file.path} is not permission bits`
    const mount = spec.mounts.find(({ target }) => isWithin(file.path, target))
    if (mount !== undefined) return `the inline file ${file.path} would be written into the mount at ${mount.target}`
  }
  return null
}

function problemOfRoot(
  { layers, scratch = [], user = { uid: 1, gid: 1 }, hostIds }: RootTree,
  hostUid: number,
): string | null {
  if (scratch.length > specLimits.mountsMax) return `more than ${specLimits.mountsMax} scratch directories`
  const closed = scratch.find((path) => reservedTargets.includes(path))
  if (closed !== undefined) return `${closed} cannot be scratch`
  if (layers.length === 0 || layers.length > specLimits.rootLayersMax)
    return `a root has from 1 to ${specLimits.rootLayersMax} layers`
  if (layers.some(neverGiven)) return 'a layer of its root is never handed into a sandbox'
  if ([user.uid, user.gid].some((id) => !Number.isInteger(id) || id < 0 || id >= 2 ** 32 - 1))
    return 'its user inside is not a user id'
  return hostIds === undefined ? null : problemOfIds(hostIds, user, hostUid)
}

function problemOfIds(
  { first, count }: HostIds,
  user: { readonly uid: number; readonly gid: number },
  hostUid: number,
): string | null {
  const end = first + count
  if (!Number.isInteger(first) || !Number.isInteger(count) || first < 1 || count < 1 || end > 2 ** 32 - 1)
    return 'its users on the host are no range of user ids'
  if (hostUid >= first && hostUid < end) return 'hostUid is one of its other users on the host'
  if (user.uid >= count || user.gid >= count) return `its user inside is none of the ${count} that there are`
  return null
}

function neverGiven(source: string): boolean {
  // Shared memory is a file system like others.
  const inShared = source.startsWith('/dev/shm/')
  return source === '/' || (!inShared && forbiddenSources.some((root) => isWithin(source, root)))
}

function bytesOf(texts: readonly string[]): number {
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text) + 1, 0)
}
