/**
 * The programs that run bundles, and other trees of binaries. Node is copied into the store, because a sandbox may not be
 * able to read its original place; Python is the system's, which every sandbox sees under /usr.
 *
 * Invariant: a runtime is named by the digest of its executable and stays once it was copied, so that a bundle made with
 * it can be run again after the platform has moved on.
 */
import { realpath } from 'node:fs/promises'
import { posix } from 'node:path'
import { SteadError, systemCodeOf } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import type { Assembler } from './assemble.ts'
import type { BundleFile, BundleLimits, BundleManifest, Digest, Runtime } from './bundle.ts'
import { decodeManifest, digestOf, encodeManifest, makeManifest } from './manifest.ts'
import { digestOfFile } from './pool.ts'
import { runProgram } from './run.ts'
import { checkDirectory, inspectFile, scan } from './scan.ts'
import type { SourceEntry } from './scan.ts'
import type { TreeDirectory } from './trees.ts'

/** Where a sandbox shows the bundle. */
export const appRoot = '/app'
/** Where a sandbox shows the runtime. */
export const runtimeRoot = '/opt/stead/runtime'
export const pythonPath = '/usr/bin/python3'

const askTimeoutMs = 20_000

/** How to start a part's program. */
export interface ResolvedRuntime {
  /** Goes into the manifest; null for a program of the bundle's own. */
  readonly runtime: Runtime | null
  /** The program as the sandbox sees it: an absolute path, or a name to look up on its PATH. */
  readonly argv0: string
  /** What the sandbox must be shown, read-only. */
  readonly mounts: readonly { readonly source: string; readonly target: string }[]
}

/** A symbolic link to make in a tree; both paths are relative to the tree's top. */
export interface TreeLink {
  readonly path: string
  readonly target: string
}

export class Runtimes {
  readonly trees: TreeDirectory
  readonly #assembler: Assembler
  readonly #limits: BundleLimits
  readonly #clock: Clock
  /** The last Python looked at, by the stamp of its file. */
  #python: { readonly stamp: string; readonly runtime: Runtime } | undefined

  constructor(trees: TreeDirectory, assembler: Assembler, limits: BundleLimits, clock: Clock) {
    this.trees = trees
    this.#assembler = assembler
    this.#limits = limits
    this.#clock = clock
  }

  /** What runs `program`, the first word of a part's command. Throws `artifact.runtime-missing`. */
  async resolve(program: string): Promise<ResolvedRuntime> {
    if (program === 'node') return this.#node()
    if (program === 'python3') return { runtime: await this.python(), argv0: pythonPath, mounts: [] }
    const own = program.includes('/') && !program.startsWith('/')
    return { runtime: null, argv0: own ? posix.join(appRoot, program) : program, mounts: [] }
  }

  /** The very runtime that a manifest names, or null when this machine does not have it. */
  async open(runtime: Runtime): Promise<ResolvedRuntime | null> {
    if (runtime.name === 'python3') {
      const present = await this.python()
      return present.digest === runtime.digest ? { runtime, argv0: pythonPath, mounts: [] } : null
    }
    return (await this.trees.manifest(runtime.digest)) === null ? null : this.#placed(runtime)
  }

  /** The tree of a runtime that was copied here; null for the system's, and for one that is not here. */
  async treeOf(runtime: Runtime): Promise<{ readonly manifest: BundleManifest; readonly path: string } | null> {
    const encoded = runtime.name === 'node' ? await this.trees.manifest(runtime.digest) : null
    return encoded === null
      ? null
      : { manifest: decodeManifest(encoded, this.#limits), path: this.trees.pathOf(runtime.digest) }
  }

  /** The one file that a runtime of another machine is. Throws `artifact.runtime-missing` for one that does not travel. */
  fileOf(runtime: Runtime, sizeBytes: number): BundleFile {
    if (runtime.name === 'node')
      return { kind: 'file', path: 'bin/node', executable: true, sizeBytes, sha256: runtime.digest }
    throw new SteadError({
      code: 'artifact.runtime-missing',
      message: `${runtime.name} ${runtime.version} is the system's own, and cannot be brought from another machine`,
      hint: 'Install the same version of it here.',
    })
  }

  /** Builds the tree of a runtime whose file is in the pool. */
  async build(runtime: Runtime, file: BundleFile): Promise<void> {
    const manifest = makeManifest([file], null, this.#limits)
    await using staging = await this.#assembler.pool.stage()
    await this.#assembler.build(runtime.digest, manifest, staging, this.trees)
  }

  /** The system's Python. Throws `artifact.runtime-missing`. */
  async python(): Promise<Runtime> {
    const path = await realpath(pythonPath).catch((cause: unknown) => {
      throw missing(systemCodeOf(cause) ?? 'it cannot be found', cause)
    })
    const { stamp } = await inspectFile(path, 'python3')
    if (this.#python?.stamp === stamp) return this.#python.runtime
    const runtime = { name: 'python3', version: await this.#versionOf(pythonPath), digest: await digestOfFile(path) }
    this.#python = { stamp, runtime }
    return runtime
  }

  /** An immutable copy of a directory, with `links` added; where a link is there already, the given one counts. */
  async materialise(directory: string, links: readonly TreeLink[]): Promise<{ digest: Digest; path: string }> {
    const source = await realpath(directory).catch(() => directory)
    await checkDirectory(source)
    const { entries } = await scan(source, () => false, this.#limits)
    const added = links.map((link): SourceEntry => {
      return { kind: 'link', path: link.path, to: posix.relative(posix.dirname(link.path), link.target) }
    })
    const replaced = new Set(added.map((link) => link.path))
    const { name } = await this.#assembler.assemble({
      source,
      entries: [...entries.filter((entry) => !replaced.has(entry.path)), ...added],
      runtime: null,
      into: this.trees,
      nameOf: (manifest) => digestOf(encodeManifest(manifest)),
    })
    return { digest: name, path: this.trees.pathOf(name) }
  }

  async #node(): Promise<ResolvedRuntime> {
    const source = await realpath(process.execPath)
    const file = { ...(await inspectFile(source, 'bin/node')), executable: true }
    const { name } = await this.#assembler.assemble({
      source,
      entries: [file],
      runtime: null,
      into: this.trees,
      nameOf: digestOfOnlyFile,
    })
    await this.trees.touch(name, this.#clock)
    return this.#placed({ name: 'node', version: process.version, digest: name })
  }

  #placed(runtime: Runtime): ResolvedRuntime {
    const source = this.trees.pathOf(runtime.digest)
    return { runtime, argv0: `${runtimeRoot}/bin/${runtime.name}`, mounts: [{ source, target: runtimeRoot }] }
  }

  async #versionOf(path: string): Promise<string> {
    const lines: string[] = []
    const { fault } = await runProgram({
      argv: [path, '-I', '-S', '-c', 'import sys; print("%d.%d.%d" % sys.version_info[:3])'],
      cwd: '/',
      env: {},
      timeoutMs: askTimeoutMs,
      clock: this.#clock,
      onLine: (line) => lines.push(line),
    })
    if (fault !== null) throw missing(fault)
    return lines.join(' ')
  }
}

function digestOfOnlyFile(manifest: BundleManifest): Digest {
  const [file] = manifest.files
  return file?.kind === 'file' ? file.sha256 : digestOf(encodeManifest(manifest))
}

function missing(why: string, cause?: unknown): SteadError {
  return new SteadError({
    code: 'artifact.runtime-missing',
    message: `a part wants python3, and ${pythonPath} does not work: ${why}`,
    hint: 'Install it: apt-get install -y python3 python3-pip',
    cause,
  })
}
