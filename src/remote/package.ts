/**
 * This Stead as it runs, in one archive: its code, the packages it needs, and the Node that runs it, so that a server needs
 * no registry and no Node of its own. Invariant: an archive is named by what went into it; equal files give equal bytes,
 * so that a sending that was cut off goes on.
 */
import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream, existsSync } from 'node:fs'
import { mkdir, readdir, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, relative, sep } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { SteadError } from '../base/index.ts'
import { type TarEntry, writeTar } from './tar.ts'

export interface PackageList {
  readonly version: string
  /** Names the very files: a digest of their paths, sizes and times. */
  readonly build: string
  readonly entries: readonly TarEntry[]
}

export interface SteadPackage {
  readonly path: string
  readonly sizeBytes: number
  readonly sha256: string
}

/** Files of packages that only people and compilers read. */
const needless = /\.(?:map|d\.ts|d\.mts|d\.cts|test\.ts|test-helper\.ts)$/
/** Where a checkout keeps the pages of the dashboard that it has built; a package has them beside its code. */
const builtPages = 'node_modules/.cache/stead-dashboard'
/** Archives kept here. */
const keptMax = 2
const filesMax = 20_000

/** Starts the installed Stead by its own Node. STEAD_ENTRY is the way that also leads to the next version. */
const starter = `#!/bin/sh
real=$(readlink -f "$0")
here=$(dirname "$(dirname "$real")")
STEAD_ENTRY=$(dirname "$here")/current/bin/stead
[ -x "$STEAD_ENTRY" ] || STEAD_ENTRY=$real
export STEAD_ENTRY
: "\${NODE_COMPILE_CACHE:=$here/.cache}"
export NODE_COMPILE_CACHE
exec "$here/bin/node" --disable-warning=ExperimentalWarning "$here/MAIN" "$@"
`

/** What this Stead consists of. Throws `remote.package-incomplete`. */
export async function listPackage(): Promise<PackageList> {
  const code = dirname(import.meta.dirname)
  const root = dirname(code)
  const manifest = await readManifest(root)
  const main = join(basename(code), 'cli', basename(code) === 'dist' ? 'main.js' : 'main.ts')
  const files: TarEntry[] = []
  const stamps: string[] = []
  const addFile = async (source: string, path: string): Promise<void> => {
    const info = await stat(source)
    if (files.length >= filesMax) throw incomplete(`it has more than ${filesMax} files`)
    stamps.push(`${path} ${info.size} ${Math.round(info.mtimeMs)} ${info.mode}`)
    files.push({ path, executable: (info.mode & 0o111) !== 0, sizeBytes: info.size, from: { file: source } })
  }
  const addTree = async (source: string, path: string): Promise<void> => {
    for (const item of await readdir(source, { withFileTypes: true })) {
      const [from, to] = [join(source, item.name), `${path}/${item.name}`]
      if (item.isDirectory()) {
        if (item.name !== 'node_modules' && !(item.name === 'fixtures' && from.startsWith(code)))
          await addTree(from, to)
      } else if ((item.isFile() || item.isSymbolicLink()) && !needless.test(item.name)) await addFile(from, to)
    }
  }
  await addTree(code, basename(code))
  if (existsSync(join(root, builtPages))) await addTree(join(root, builtPages), builtPages)
  await addFile(join(root, 'package.json'), 'package.json')
  await addFile(await realpath(process.execPath), 'bin/node')
  for (const [path, source] of await dependencies(root, manifest)) await addTree(source, path)
  const text = (path: string, executable: boolean, content: string): TarEntry => ({
    path,
    executable,
    sizeBytes: Buffer.byteLength(content),
    from: { text: content },
  })
  const start = text('bin/stead', true, starter.replace('MAIN', main))
  const build = createHash('sha256')
    .update([manifest.version, starter, ...stamps.sort()].join('\n'))
    .digest('hex')
    .slice(0, 16)
  const entries = [...files, start, text('.build', false, build)].sort((a, b) => (a.path < b.path ? -1 : 1))
  return { version: manifest.version, build, entries }
}

/** Of a package the files that one program of it needs: those below these directories, with the packages named. Not compressed on disk. */
export function partOfPackage(
  list: PackageList,
  directories: readonly string[],
  packages: readonly string[],
  withNode: boolean,
): AsyncIterable<Uint8Array> {
  const code = basename(dirname(import.meta.dirname))
  const roots = [...directories.map((name) => `${code}/${name}`), ...packages.map((name) => `node_modules/${name}/`)]
  const isWanted = (path: string): boolean =>
    path === 'package.json' || (withNode && path === 'bin/node') || roots.some((root) => path.startsWith(root))
  return Readable.from(writeTar(list.entries.filter(({ path }) => isWanted(path)))).pipe(createGzip({ level: 1 }))
}

/** Packs it, unless it is there from before. */
export async function packStead(list: PackageList, directory: string): Promise<SteadPackage> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const path = join(directory, `stead-${list.version}-${list.build}.tar.gz`)
  if ((await stat(path).catch(() => null)) === null) {
    const fresh = `${path}.${process.pid}`
    try {
      // Fast rather than small: most of it are programs, which do not get much smaller.
      await pipeline(writeTar(list.entries), createGzip({ level: 1 }), createWriteStream(fresh, { mode: 0o600 }))
      await rename(fresh, path)
    } finally {
      await rm(fresh, { force: true })
    }
    await keepNewest(directory)
  }
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(chunk as Buffer)
  return { path, sizeBytes: (await stat(path)).size, sha256: hash.digest('hex') }
}

interface Manifest {
  readonly version: string
  readonly needs: readonly string[]
  readonly mayHave: readonly string[]
}

async function readManifest(directory: string): Promise<Manifest> {
  const found: unknown = JSON.parse(await readFile(join(directory, 'package.json'), 'utf8'))
  const fields = typeof found === 'object' && found !== null ? (found as Readonly<Record<string, unknown>>) : {}
  const names = (key: string): string[] => Object.keys((fields[key] as object | undefined) ?? {})
  const { version } = fields
  return {
    version: typeof version === 'string' ? version : '0.0.0',
    needs: names('dependencies'),
    // Clients of certificate authorities and of other people's queues: a server has no npm to fetch them with.
    mayHave: [...names('optionalDependencies'), ...names('peerDependencies')],
  }
}

/** The packages it needs at run time: where each lies here, by where it will lie there. */
async function dependencies(root: string, manifest: Manifest): Promise<Map<string, string>> {
  const placed = new Map<string, string>()
  const visit = async (from: string, at: string, own: Manifest): Promise<void> => {
    for (const name of [...own.needs, ...own.mayHave]) {
      // Node travels by itself.
      if (/^node-[a-z]+-[a-z0-9]+$/.test(name)) continue
      const source = await find(from, name)
      if (source === null) {
        if (own.mayHave.includes(name)) continue
        throw incomplete(`the package ${name}, which ${relative(root, from) || 'it'} needs, is not installed`)
      }
      const top = `node_modules/${name}`
      const path = placed.get(top) === undefined || placed.get(top) === source || at === '' ? top : `${at}/${top}`
      if (placed.has(path)) continue
      placed.set(path, source)
      await visit(source, path, await readManifest(source))
    }
  }
  await visit(root, '', manifest)
  return placed
}

/** As Node looks for a package: beside, then in every directory above. */
async function find(from: string, name: string): Promise<string | null> {
  for (let directory = from; ; directory = dirname(directory)) {
    const place = join(directory, 'node_modules', ...name.split('/'))
    if (
      !directory.endsWith(`${sep}node_modules`) &&
      (await stat(join(place, 'package.json')).catch(() => null)) !== null
    )
      return realpath(place)
    if (directory === dirname(directory)) return null
  }
}

async function keepNewest(directory: string): Promise<void> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.tar.gz'))
  const aged = await Promise.all(
    names.map(async (name) => ({ name, atMs: (await stat(join(directory, name))).mtimeMs })),
  )
  for (const { name } of aged.sort((a, b) => b.atMs - a.atMs).slice(keptMax))
    await rm(join(directory, name), { force: true })
}

function incomplete(why: string): SteadError {
  return new SteadError({
    code: 'remote.package-incomplete',
    message: `this Stead cannot be brought to a server: ${why}`,
    hint: 'Install it anew (npm ci), and try again.',
  })
}
