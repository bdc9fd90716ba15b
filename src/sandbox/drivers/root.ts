/**
 * What a root of its own needs from this machine: whether the kernel can make one, a place for it, a shell that runs in any
 * root, and where a path inside really leads.
 *
 * Invariants: no symbolic link of a layer is followed but within the layers; the shell needs nothing of the root it is in.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { basename } from 'node:path'
import { SteadError } from '../../base/index.ts'
import type { RootTree, SandboxSpec } from '../driver.ts'
import { canCall, rootArguments, rootProgram } from '../root.ts'
import type { SeveralUsers } from '../root.ts'
import { checkSpec, isWithin } from '../spec.ts'
import { findProgram, needProgram } from './programs.ts'

/** Everybody may pass it, and nobody but root writes. */
const home = '/run/stead-roots'
/** In a launcher's own namespace the root is made here; on the host it stays empty. */
export const rootPlace: string = `${home}/place`
const probeTimeoutMs = 10_000
const linksMax = 40

/** How a shell is run in a root that may have none. */
export interface RootShell {
  /** A directory of the host, to be bound at `shellTarget`. */
  readonly directory: string
  /** Command line of a shell inside. */
  readonly sh: readonly string[]
  /** Command line of setsid inside, of util-linux; null where the host has none. */
  readonly setsid: readonly string[] | null
  /** Command line of setpriv inside, of util-linux. */
  readonly setpriv: readonly string[]
}

/** Where the shell stands inside. */
export const shellTarget = '/.stead'

/** Why no root can be made here, with one user or with several; null when it can. Tries it once. */
export function probeRoot(perl: string | null, several: SeveralUsers | null): string | null {
  if (process.getuid?.() !== 0) return 'a root of its own needs a supervisor that is root'
  if (perl === null) return 'a root of its own needs perl: apt-get install perl'
  if (!canCall(process.arch)) return `a root of its own is not made on ${process.arch}`
  makePlace()
  const order = {
    architecture: process.arch,
    place: rootPlace,
    hostUid: 1,
    several,
    writtenBytesMax: 2 ** 16,
    layers: [existsSync('/var/lib') ? '/var/lib' : '/usr'],
    scratch: [],
    sources: [],
  }
  const { status, stderr } = spawnSync(perl, ['-e', rootProgram, ...rootArguments(order), '/bin/true'], {
    encoding: 'utf8',
    timeout: probeTimeoutMs,
    env: {},
  })
  return status === 0
    ? null
    : `a root of its own needs Linux 5.19 and file systems that map ids (${stderr.trim().split('\n')[0] ?? 'no answer'})`
}

function makePlace(): void {
  mkdirSync(rootPlace, { recursive: true, mode: 0o755 })
  chmodSync(home, 0o755)
}

/**
 * A directory with the host's shell and the libraries it needs, made once for each version of them. Throws
 * `sandbox.unavailable` when the host's shell cannot be taken along.
 */
export function makeRootShell(): RootShell {
  const setpriv = needProgram('setpriv', 'Install util-linux.')
  const setsid = findProgram('setsid')
  const programs = ['/bin/sh', setpriv, ...(setsid === null ? [] : [setsid])]
  const needed = programs.map((path) => ({ path, libraries: librariesOf(path) }))
  const sources = [...new Set(needed.flatMap(({ path, libraries }) => [path, ...libraries]))]
  const stamps = sources.map((path) => `${path} ${statSync(path).size} ${statSync(path).mtimeMs} ${statSync(path).ino}`)
  const directory = `${home}/shell-${createHash('sha256').update(stamps.join('\n')).digest('hex').slice(0, 16)}`
  makePlace()
  if (!existsSync(directory)) fill(directory, sources)
  const commandOf = (path: string): readonly string[] => {
    const libraries = needed.find((program) => program.path === path)?.libraries ?? []
    const loader = libraries.find((library) => basename(library).startsWith('ld-'))
    const inside = `${shellTarget}/${basename(path)}`
    return loader === undefined
      ? [inside]
      : [`${shellTarget}/${basename(loader)}`, '--inhibit-cache', '--library-path', shellTarget, inside]
  }
  return {
    directory,
    sh: commandOf('/bin/sh'),
    setsid: setsid === null ? null : commandOf(setsid),
    setpriv: commandOf(setpriv),
  }
}

function fill(directory: string, sources: readonly string[]): void {
  const made = mkdtempSync(`${home}/new-`)
  try {
    for (const source of sources) {
      copyFileSync(source, `${made}/${basename(source)}`)
      chmodSync(`${made}/${basename(source)}`, 0o755)
    }
    chmodSync(made, 0o755)
    renameSync(made, directory)
  } catch (error) {
    rmSync(made, { recursive: true, force: true })
    // Another supervisor may have been faster.
    if (!existsSync(directory)) throw error
  }
}

/** Shared libraries of a program of the host, its loader among them; none when it is static. */
function librariesOf(path: string): readonly string[] {
  const { status, stdout, stderr } = spawnSync('ldd', [path], {
    encoding: 'utf8',
    timeout: probeTimeoutMs,
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
  })
  if (status !== 0 && /not a dynamic/.test(stdout + stderr)) return []
  const libraries = [...stdout.matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm)].map((found) => found[1] ?? '')
  if (status === 0 && libraries.length > 0) return libraries
  throw new SteadError({
    code: 'sandbox.unavailable',
    message: `The libraries of ${path} cannot be told: ${stderr.trim() || 'ldd gave no answer'}.`,
    hint: 'Programs with a root of their own are started by a shell of the host: see that `ldd /bin/sh` works.',
  })
}

/**
 * The spec as it is in its root: every path inside without symbolic links, as bubblewrap needs them, which would follow
 * those of a root into the host. Throws `sandbox.start-failed`, and `sandbox.bad-spec` where two paths lead to one place.
 */
export function inRoot(spec: SandboxSpec): SandboxSpec {
  const { root } = spec
  if (root === undefined) return spec
  const resolve = (path: string): string => resolveInside(root, path)
  for (const path of ['/proc', '/dev', '/tmp', shellTarget]) {
    if (resolve(path) === path) continue
    throw new SteadError({
      code: 'sandbox.start-failed',
      message: `The sandbox ${spec.id} cannot be started: ${path} of its root is a symbolic link.`,
      hint: 'The sandbox makes this directory itself; build the image without it.',
    })
  }
  const resolved = {
    ...spec,
    root: root.scratch === undefined ? root : { ...root, scratch: root.scratch.map(resolve) },
    cwd: resolve(spec.cwd),
    mounts: spec.mounts.map((mount) => ({ ...mount, target: resolve(mount.target) })),
    files: spec.files.map((file) => ({ ...file, path: resolve(file.path) })),
  }
  checkSpec(resolved)
  return resolved
}

/** The standard files as they are in a root; one that would be written into a mount of the spec is left out. */
export function standardInRoot({ root, mounts }: SandboxSpec, files: SandboxSpec['files']): SandboxSpec['files'] {
  if (root === undefined) return files
  return files
    .map((file) => ({ ...file, path: resolveInside(root, file.path) }))
    .filter(({ path }) => !mounts.some(({ target }) => isWithin(path, target)))
}

/**
 * Where a path inside leads once every symbolic link of the layers is followed, within them. What stands in the way may turn
 * out to be covered by an upper layer: then the path is longer than need be, and still free of links. Throws
 * `sandbox.start-failed` for links in a circle.
 */
export function resolveInside({ layers }: RootTree, path: string): string {
  const resolved: string[] = []
  let links = 0
  const open = path.split('/').filter(Boolean)
  for (let name = open.shift(); name !== undefined; name = open.shift()) {
    if (name === '.') continue
    if (name === '..') {
      resolved.pop()
      continue
    }
    const link = linkAt(layers, resolved, name)
    if (link === null) {
      resolved.push(name)
      continue
    }
    if (++links > linksMax) {
      throw new SteadError({
        code: 'sandbox.start-failed',
        message: `The path ${path} leads through more than ${linksMax} symbolic links of its root.`,
        hint: 'The image is damaged or was made to do harm.',
      })
    }
    if (link.startsWith('/')) resolved.length = 0
    open.unshift(...link.split('/').filter(Boolean))
  }
  return `/${resolved.join('/')}`
}

/** The target of the uppermost entry of this name in a directory, when that is a link. */
function linkAt(layers: readonly string[], directory: readonly string[], name: string): string | null {
  for (const layer of layers.toReversed()) {
    // A layer in which the way leads through a link has no such directory; the kernel sees it so as well.
    const real = directory.every((_, depth) => isDirectory(`${layer}/${directory.slice(0, depth + 1).join('/')}`))
    const path = [layer, ...directory, name].join('/')
    const entry = real ? lstatSync(path, { throwIfNoEntry: false }) : undefined
    if (entry !== undefined) return entry.isSymbolicLink() ? readlinkSync(path) : null
  }
  return null
}

function isDirectory(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}
