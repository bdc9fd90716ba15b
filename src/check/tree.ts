/**
 * A parsed document: maps, lists and scalars, each with the offset where it stands. The one form that all readers read,
 * whatever the text was: YAML, JSON, a unit file. Invariants: a tree is acyclic, its expanded size is at most `nodesMax` and
 * its depth at most `depthMax`, so a walk over it ends; what an alias stands for is shared, and keeps its own offset.
 */
import type { Json } from '../base/index.ts'

/** Most nodes of one document, aliases expanded. */
export const nodesMax = 1_000_000
/** Deepest nesting of one document. */
export const depthMax = 128

export type Scalar = null | boolean | number | string

export interface MapTree {
  readonly kind: 'map'
  readonly offset: number
  readonly entries: ReadonlyMap<string, Entry>
  /** Nodes below and including this one, aliases expanded. */
  readonly size: number
}

export interface ListTree {
  readonly kind: 'list'
  readonly offset: number
  readonly items: readonly Tree[]
  readonly size: number
}

export interface ScalarTree {
  readonly kind: 'scalar'
  readonly offset: number
  readonly value: Scalar
  /** Written without quotes: YAML 1.1 readers, Kubernetes among them, take `yes` and `off` for truth values then. */
  readonly plain: boolean
  readonly size: 1
}

export interface Entry {
  readonly keyOffset: number
  readonly value: Tree
}

export type Tree = MapTree | ListTree | ScalarTree

export type Path = readonly (string | number)[]

/** The value at a path, or undefined. A null counts as not there, as it does for the programs that read these files. */
export function at(tree: Tree | undefined, ...path: Path): Tree | undefined {
  let found = tree
  for (const step of path) {
    if (found?.kind === 'map' && typeof step === 'string') found = found.entries.get(step)?.value
    else if (found?.kind === 'list' && typeof step === 'number') found = found.items[step]
    else return undefined
  }
  return found?.kind === 'scalar' && found.value === null ? undefined : found
}

/** The offset of the deepest thing on the path that is there: of the key where it stands in a map. */
export function offsetAt(tree: Tree, path: Path): number {
  let found = tree
  let offset = tree.offset
  for (const step of path) {
    if (found.kind === 'map' && typeof step === 'string') {
      const entry = found.entries.get(step)
      if (entry === undefined) return offset
      offset = entry.keyOffset
      found = entry.value
    } else if (found.kind === 'list' && typeof step === 'number') {
      const item = found.items[step]
      if (item === undefined) return offset
      offset = item.offset
      found = item
    } else return offset
  }
  return offset
}

/** The text of a scalar; numbers and truth values as they would be written. */
export function textOf(tree: Tree | undefined): string | undefined {
  if (tree?.kind !== 'scalar' || tree.value === null) return undefined
  return typeof tree.value === 'string' ? tree.value : String(tree.value)
}

export function numberOf(tree: Tree | undefined): number | undefined {
  if (tree?.kind !== 'scalar') return undefined
  if (typeof tree.value === 'number') return tree.value
  // Plan files write numbers as texts where a provider's schema says so.
  if (typeof tree.value === 'string' && /^-?\d+(?:\.\d+)?$/.test(tree.value)) return Number(tree.value)
  return undefined
}

/** A truth value, also in the words of YAML 1.1. */
export function booleanOf(tree: Tree | undefined): boolean | undefined {
  if (tree?.kind !== 'scalar') return undefined
  if (typeof tree.value === 'boolean') return tree.value
  if (typeof tree.value !== 'string') return undefined
  if (/^(?:true|True|TRUE)$/.test(tree.value)) return true
  if (/^(?:false|False|FALSE)$/.test(tree.value)) return false
  if (tree.plain && /^(?:y|Y|yes|Yes|YES|on|On|ON)$/.test(tree.value)) return true
  if (tree.plain && /^(?:n|N|no|No|NO|off|Off|OFF)$/.test(tree.value)) return false
  return undefined
}

export function itemsOf(tree: Tree | undefined): readonly Tree[] {
  return tree?.kind === 'list' ? tree.items : []
}

export function entriesOf(tree: Tree | undefined): readonly (readonly [string, Entry])[] {
  return tree?.kind === 'map' ? [...tree.entries] : []
}

/** The texts of a list's scalars. */
export function textsOf(tree: Tree | undefined): readonly string[] {
  return itemsOf(tree)
    .map(textOf)
    .filter((text) => text !== undefined)
}

/** A map of scalars as texts; what is no scalar is left out. */
export function recordOf(tree: Tree | undefined): Readonly<Record<string, string>> {
  return Object.fromEntries(
    entriesOf(tree).flatMap(([key, { value }]) => {
      const text = textOf(value)
      return text === undefined ? [] : [[key, text]]
    }),
  )
}

/** The plain value. */
export function plainOf(tree: Tree): Json {
  switch (tree.kind) {
    case 'scalar':
      return tree.value
    case 'list':
      return tree.items.map(plainOf)
    case 'map':
      return Object.fromEntries([...tree.entries].map(([key, { value }]) => [key, plainOf(value)]))
  }
}
