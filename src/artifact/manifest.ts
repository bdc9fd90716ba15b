/**
 * Manifests as bytes, and the rules that every manifest obeys, whether it was made here or came from elsewhere: sorted,
 * no path twice, no path that leaves the tree or goes through a file or link, within the limits. Pure.
 */
import { createHash } from 'node:crypto'
import { SteadError, canonicalJson } from '../base/index.ts'
import type { BundleFile, BundleLimits, BundleManifest, Digest, Runtime } from './bundle.ts'
import { linkFault } from './links.ts'

/** Largest encoded manifest that is read. */
export const manifestBytesMax: number = 64 * 1024 ** 2

/** sha256 of bytes or UTF-8 text. */
export function digestOf(content: Uint8Array | string): Digest {
  return createHash('sha256').update(content).digest('hex')
}

/** Whether a text has the form of a digest. Anything else never becomes part of a path. */
export function isDigest(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text)
}

/** The one encoding of a manifest. Its digest is the digest of the bundle. */
export function encodeManifest(manifest: BundleManifest): Buffer {
  return Buffer.from(canonicalJson(manifest))
}

/** Sorts the files, checks them, and puts the manifest together. Throws what `checkFiles` throws. */
export function makeManifest(
  files: readonly BundleFile[],
  runtime: Runtime | null,
  limits: BundleLimits,
): BundleManifest {
  const sorted = files.toSorted((a, b) => (a.path < b.path ? -1 : 1))
  checkFiles(sorted, limits)
  return { version: 1, files: sorted, runtime }
}

/** Reads an encoded manifest. Throws `artifact.manifest-refused`, or what `checkFiles` throws. */
export function decodeManifest(bytes: Uint8Array, limits: BundleLimits): BundleManifest {
  const manifest = manifestFrom(parse(bytes))
  if (!encodeManifest(manifest).equals(bytes)) throw refused('it is not in its canonical form')
  checkFiles(manifest.files, limits)
  return manifest
}

/** Throws `artifact.path-refused`, `artifact.link-refused` or `artifact.too-big` for the first rule that is broken. */
export function checkFiles(files: readonly BundleFile[], limits: BundleLimits): void {
  if (files.length > limits.filesMax) throw tooManyFiles(files, limits)
  const links = new Map(files.flatMap((file) => (file.kind === 'link' ? [[file.path, file.to] as const] : [])))
  const paths = new Set<string>()
  const sizes = new Map<Digest, number>()
  let previous = ''
  for (const file of files) {
    const fault = pathFault(file.path, limits) ?? (file.path <= previous ? 'is out of order or there twice' : null)
    if (fault !== null) throw pathRefused(file.path, fault)
    previous = file.path
    paths.add(file.path)
    if (file.kind === 'link') {
      checkLink(file.path, file.to, links, limits)
    } else {
      if (file.sizeBytes > limits.fileBytesMax) throw tooBig(files, limits)
      if ((sizes.get(file.sha256) ?? file.sizeBytes) !== file.sizeBytes) throw refused(`${file.path} has two sizes`)
      sizes.set(file.sha256, file.sizeBytes)
    }
  }
  for (const path of paths) {
    const through = parentsOf(path).find((parent) => paths.has(parent))
    if (through !== undefined) throw pathRefused(path, `goes through ${through}, which is no directory`)
  }
  if (totalBytes(files) > limits.totalBytesMax) throw tooBig(files, limits)
}

/** The directories above a path, nearest last: `a`, `a/b` for `a/b/c`. */
export function parentsOf(path: string): string[] {
  const names = path.split('/').slice(0, -1)
  return names.map((_, index) => names.slice(0, index + 1).join('/'))
}

/** Sum of the sizes of all files. */
export function totalBytes(files: readonly { readonly kind: string; readonly sizeBytes?: number }[]): number {
  return files.reduce((sum, file) => sum + (file.sizeBytes ?? 0), 0)
}

/** The error for a tree with too many files, naming the directories that hold most of them. */
export function tooManyFiles(files: readonly { readonly path: string }[], limits: BundleLimits): SteadError {
  const counts = new Map<string, number>()
  for (const { path } of files) {
    const top = path.split('/').slice(0, -1).slice(0, 2).join('/') || '.'
    counts.set(top, (counts.get(top) ?? 0) + 1)
  }
  const most = [...counts].sort(([, a], [, b]) => b - a).slice(0, 3)
  return new SteadError({
    code: 'artifact.too-big',
    message: `the tree has more than ${limits.filesMax} files; most are in ${most.map(([top, count]) => `${top} (${count})`).join(', ')}`,
    hint: 'Name what does not belong in the bundle in .steadignore.',
  })
}

/** The error for a tree with too many bytes, naming the largest files. */
export function tooBig(
  files: readonly { readonly kind: string; readonly path: string; readonly sizeBytes?: number }[],
  limits: BundleLimits,
): SteadError {
  const largest = files.toSorted((a, b) => (b.sizeBytes ?? 0) - (a.sizeBytes ?? 0)).slice(0, 3)
  const megabytes = (bytes: number): string => `${(bytes / 1024 ** 2).toFixed(1)} MB`
  const names = largest.map((file) => `${file.path} (${megabytes(file.sizeBytes ?? 0)})`).join(', ')
  return new SteadError({
    code: 'artifact.too-big',
    message: `the tree has ${megabytes(totalBytes(files))}, and at most ${megabytes(limits.totalBytesMax)}, ${megabytes(limits.fileBytesMax)} in one file, are allowed; largest: ${names}`,
    hint: 'Data belongs in a bucket or a volume, not in a bundle; name it in .steadignore.',
  })
}

function pathFault(path: string, limits: BundleLimits): string | null {
  if (Buffer.byteLength(path) > limits.pathBytesMax) return `is longer than ${limits.pathBytesMax} bytes`
  if (path.includes('\0') || path.includes('\uFFFD') || !path.isWellFormed()) return 'is not valid text'
  const names = path.split('/')
  return names.some((name) => name === '' || name === '.' || name === '..') ? 'is not a plain relative path' : null
}

function checkLink(path: string, to: string, links: ReadonlyMap<string, string>, limits: BundleLimits): void {
  const fault = isLinkText(to, limits) ? linkFault(path, links) : 'is not valid text'
  if (fault === null) return
  throw new SteadError({
    code: 'artifact.link-refused',
    message: `the symbolic link ${JSON.stringify(path)} -> ${JSON.stringify(to)} ${fault}`,
    hint: 'A bundle holds only what is inside its directory: make the link relative and point it inside, copy the file, or name the link in .steadignore.',
  })
}

function isLinkText(to: string, limits: BundleLimits): boolean {
  return to !== '' && !/[\0\uFFFD]/.test(to) && to.isWellFormed() && Buffer.byteLength(to) <= limits.pathBytesMax
}

function pathRefused(path: string, fault: string): SteadError {
  return new SteadError({
    code: 'artifact.path-refused',
    message: `the path ${JSON.stringify(path.slice(0, 200))} ${fault}`,
    hint: 'Rename it, or name it in .steadignore.',
  })
}

function refused(why: string): SteadError {
  return new SteadError({
    code: 'artifact.manifest-refused',
    message: `the manifest of the bundle cannot be used: ${why}`,
    hint: 'It was damaged or made by something else; make or fetch the bundle again.',
  })
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw refused('it is not JSON')
  }
}

type Fields = Readonly<Record<string, unknown>>

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function textOf(fields: Fields, key: string): string {
  const value = fields[key]
  if (typeof value !== 'string') throw refused(`${key} is not text`)
  return value
}

function digestField(fields: Fields, key: string): Digest {
  const value = textOf(fields, key)
  if (!isDigest(value)) throw refused(`${key} is not a digest`)
  return value
}

function manifestFrom(value: unknown): BundleManifest {
  if (!isFields(value) || !Array.isArray(value.files)) throw refused('it has no files')
  if (value.version !== 1) throw refused(`its version is ${String(value.version)}, this is for version 1`)
  return { version: 1, files: value.files.map(fileFrom), runtime: runtimeFrom(value.runtime) }
}

function runtimeFrom(value: unknown): Runtime | null {
  if (value === null) return null
  if (!isFields(value)) throw refused('its runtime is not an object')
  return { name: textOf(value, 'name'), version: textOf(value, 'version'), digest: digestField(value, 'digest') }
}

function fileFrom(value: unknown): BundleFile {
  if (!isFields(value)) throw refused('a file is not an object')
  const path = textOf(value, 'path')
  if (value.kind === 'link') return { kind: 'link', path, to: textOf(value, 'to') }
  const { executable, sizeBytes } = value
  if (value.kind !== 'file' || typeof executable !== 'boolean') throw refused(`${path} is neither file nor link`)
  if (typeof sizeBytes !== 'number' || !Number.isSafeInteger(sizeBytes) || sizeBytes < 0) {
    throw refused(`${path} has no size`)
  }
  return { kind: 'file', path, executable, sizeBytes, sha256: digestField(value, 'sha256') }
}
