/**
 * What registries said about versions, kept in a file so that checks need no network: written by `stead versions fetch`, read
 * by everything else. Invariant: every answer keeps when it was asked for.
 */
import { SteadError } from '../../base/index.ts'
import type { SourceFile } from '../source.ts'
import { readJson } from '../json-text.ts'
import { at, entriesOf, numberOf, textOf } from '../tree.ts'
import type { Tree } from '../tree.ts'

/** Versions of one thing, each with when it was published, where that is known. */
export interface KnownVersions {
  readonly askedMs: number
  readonly versions: ReadonlyMap<string, number | null>
}

export interface VersionsFile {
  /** By `npm:name` or `image:repository`. */
  readonly known: ReadonlyMap<string, KnownVersions>
}

export const noVersions: VersionsFile = { known: new Map() }

/** Reads the file. Throws `check.bad-versions`. */
export function readVersionsFile(source: SourceFile): VersionsFile {
  const { tree, problems } = readJson(source)
  if (tree === null || numberOf(at(tree, 'version')) !== 1) {
    const why = problems[0]?.message ?? 'it is no file of version 1'
    throw new SteadError({
      code: 'check.bad-versions',
      message: `${source.path}: ${why}.`,
      hint: '`stead versions fetch` writes it again.',
    })
  }
  return { known: new Map(entriesOf(at(tree, 'known')).map(([key, { value }]) => [key, knownOf(value)])) }
}

function knownOf(tree: Tree): KnownVersions {
  const time = (value: Tree | undefined): number | null => {
    const found = Date.parse(textOf(value) ?? '')
    return Number.isNaN(found) ? null : found
  }
  return {
    askedMs: time(at(tree, 'asked')) ?? 0,
    versions: new Map(entriesOf(at(tree, 'versions')).map(([version, { value }]) => [version, time(value)])),
  }
}

/** The file's text: sorted, so that a change of it can be read. */
export function writeVersionsFile(file: VersionsFile): string {
  const stamp = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString())
  const sorted = [...file.known].sort(([a], [b]) => (a < b ? -1 : 1))
  const known = sorted.map(([key, { askedMs, versions }]) => [
    key,
    { asked: stamp(askedMs), versions: Object.fromEntries([...versions].map(([version, ms]) => [version, stamp(ms)])) },
  ])
  return `${JSON.stringify({ version: 1, known: Object.fromEntries(known) }, null, 2)}\n`
}
