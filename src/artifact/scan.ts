/**
 * Walks a directory and says what would go into a bundle: files and links, with what tells a changed file from an unchanged
 * one. Reads no contents. Links are never followed; what is neither file, link nor directory is refused by name.
 */
import { lstat, readFile, readdir, readlink } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { SteadError, systemCodeOf } from '../base/index.ts'
import type { BundleLimits } from './bundle.ts'
import { mapLimited } from './concurrency.ts'
import { bundleIgnore } from './ignore.ts'
import type { Ignore } from './ignore.ts'
import { tooBig, tooManyFiles, totalBytes } from './manifest.ts'

export interface SourceFile {
  readonly kind: 'file'
  /** Inside the tree, forward slashes. */
  readonly path: string
  /** Where it is now, absolute. */
  readonly source: string
  readonly executable: boolean
  readonly sizeBytes: number
  /** Changes when the file does: inode, size, times of content and of attributes. */
  readonly stamp: string
  /** Latest change of the file, milliseconds since 1970. */
  readonly changedMs: number
}

export interface SourceLink {
  readonly kind: 'link'
  readonly path: string
  readonly to: string
}

export type SourceEntry = SourceFile | SourceLink

export interface Scan {
  /** Sorted by path. */
  readonly entries: readonly SourceEntry[]
  /** Directories that were walked, relative, '' for the top. */
  readonly directories: readonly string[]
}

const concurrency = 32

/** What `.steadignore` of a directory, and every bundle, leaves out, and the store itself. Throws `artifact.ignore-refused`. */
export async function ignoreOf(from: string, storeRoot: string): Promise<Ignore> {
  const ignore = bundleIgnore((await textOf(join(from, '.steadignore'))) ?? '')
  const store = relative(from, storeRoot)
  return (path, isDirectory) => path === store || ignore(path, isDirectory)
}

/** The text of a file, or null when there is none. */
export async function textOf(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    if (systemCodeOf(cause) === 'ENOENT') return null
    throw unreadable(path, cause)
  }
}

/** Walks `from`. Throws `artifact.special-file`, `artifact.unreadable`, `artifact.too-big`, `artifact.changed-while-reading`. */
export async function scan(from: string, ignore: Ignore, limits: BundleLimits): Promise<Scan> {
  const entries: SourceEntry[] = []
  const directories = ['']
  for (let at = 0; at < directories.length; at++) {
    const directory = directories[at] ?? ''
    const found = await readdir(join(from, directory), { withFileTypes: true }).catch((cause: unknown) => {
      throw unreadable(join(from, directory), cause)
    })
    const wanted = found
      .map((item) => ({ item, path: directory === '' ? item.name : `${directory}/${item.name}` }))
      .filter(({ item, path }) => !ignore(path, item.isDirectory()))
    for (const { item, path } of wanted) if (item.isDirectory()) directories.push(path)
    const others = wanted.filter(({ item }) => !item.isDirectory())
    if (entries.length + others.length > limits.filesMax) {
      throw tooManyFiles([...entries, ...others], limits)
    }
    entries.push(
      ...(await mapLimited(others, concurrency, ({ item, path }): Promise<SourceEntry> => {
        const source = join(from, path)
        return item.isSymbolicLink() ? linkAt(source, path) : inspectFile(source, path)
      })),
    )
    if (directories.length > limits.filesMax) throw tooManyFiles(entries, limits)
  }
  const sizes = entries.map((entry) => (entry.kind === 'file' ? entry.sizeBytes : 0))
  if (totalBytes(entries) > limits.totalBytesMax || sizes.some((size) => size > limits.fileBytesMax)) {
    throw tooBig(entries, limits)
  }
  return { entries: entries.sort((a, b) => (a.path < b.path ? -1 : 1)), directories }
}

/** One file as an entry of a tree. Throws as `scan` does. */
export async function inspectFile(source: string, path: string): Promise<SourceFile> {
  const info = await lstat(source, { bigint: true }).catch((cause: unknown) => {
    throw unreadable(source, cause)
  })
  if (!info.isFile()) {
    throw new SteadError({
      code: 'artifact.special-file',
      message: `${source} is neither a file, a directory nor a symbolic link`,
      hint: 'Sockets, pipes and devices cannot be in a bundle: remove it, or name it in .steadignore.',
    })
  }
  return {
    kind: 'file',
    path,
    source,
    executable: (info.mode & 0o100n) !== 0n,
    sizeBytes: Number(info.size),
    stamp: [info.dev, info.ino, info.size, info.mtimeNs, info.ctimeNs].join(':'),
    changedMs: Number(info.mtimeMs > info.ctimeMs ? info.mtimeMs : info.ctimeMs),
  }
}

async function linkAt(source: string, path: string): Promise<SourceLink> {
  const to = await readlink(source).catch((cause: unknown) => {
    throw unreadable(source, cause)
  })
  return { kind: 'link', path, to }
}

/** Throws `artifact.not-found` unless `from` is a directory. */
export async function checkDirectory(from: string): Promise<void> {
  const info = await lstat(from).catch((cause: unknown) => {
    if (systemCodeOf(cause) === 'ENOENT') return null
    throw unreadable(from, cause)
  })
  if (info?.isDirectory() === true) return
  throw new SteadError({
    code: 'artifact.not-found',
    message: info === null ? `there is no directory ${from}` : `${from} is not a directory`,
    hint: 'The `from` of a part is the directory of its code, relative to the app file.',
  })
}

/** The error for a path that cannot be read, or that vanished. */
export function unreadable(path: string, cause: unknown): SteadError {
  const gone = systemCodeOf(cause) === 'ENOENT'
  return new SteadError({
    code: gone ? 'artifact.changed-while-reading' : 'artifact.unreadable',
    message: gone
      ? `${path} vanished while it was read`
      : `${path} cannot be read (${systemCodeOf(cause) ?? 'unknown'})`,
    hint: gone
      ? 'Try again when nothing writes there.'
      : 'Give the platform the right to read it, or name it in .steadignore.',
    retry: gone ? 'now' : 'never',
    cause,
  })
}
