/**
 * What a layer may hold, decided entry by entry before anything is written. Pure: it knows what the layer has so far, and
 * answers what to do.
 *
 * Invariants: every path it answers lies in the layer and leads through directories of the layer alone, never through a
 * link; no device, no privilege of a file comes out; a file that removes others is told apart from files.
 */
import { SteadError } from '../base/index.ts'
import { holdLimit } from './limits.ts'
import type { TarEntry } from './tar.ts'

/** What to do for an entry; paths are relative, and their parents exist once `parents` are made. */
export type Step =
  | { readonly kind: 'directory'; readonly path: string; readonly mode: number }
  | { readonly kind: 'file'; readonly path: string; readonly mode: number }
  | { readonly kind: 'symlink'; readonly path: string; readonly target: string }
  | { readonly kind: 'hardlink'; readonly path: string; readonly target: string }
  /** Something of lower layers is gone: `removals` tells in the end. */
  | { readonly kind: 'mark' }
  /** A device, a pipe, a note of a driver about itself. */
  | { readonly kind: 'left-out' }

export interface Placed {
  readonly step: Step
  /** Directories that nobody named and that must be made first, the outermost first. */
  readonly parents: readonly string[]
  /** What stood there before and must go: an archive may name a path twice. */
  readonly replaces: 'file' | 'directory' | null
}

const removedPrefix = '.wh.'
const opaqueName = '.wh..wh..opq'
/** No file is more than itself: set-user-id and set-group-id are dropped. */
const modeKept = 0o1777

/** What the layer has at a place; a directory knows what is in it, so that all of it can go at once. */
interface Node {
  readonly kind: 'directory' | 'file' | 'symlink'
  readonly children: Map<string, Node>
}

/** Of what is no directory; nothing is ever put into it. */
const childless: Node['children'] = new Map()

function nodeOf(kind: Node['kind']): Node {
  return { kind, children: kind === 'directory' ? new Map() : childless }
}

/** One layer, as it grows. */
export class LayerPlan {
  readonly #what: string
  readonly #root = nodeOf('directory')
  readonly #removed = new Set<string>()
  readonly #opaque = new Set<string>()
  #count = 0
  #bytes = 0

  constructor(what: string) {
    this.#what = what
  }

  /** Throws `image.unsafe-layer`, `image.too-large`. */
  place({ path, kind, target, mode, size }: Pick<TarEntry, 'path' | 'kind' | 'target' | 'mode' | 'size'>): Placed {
    holdLimit('entriesMax', ++this.#count, `The number of entries of ${this.#what}`)
    this.#bytes += size
    holdLimit('unpackedBytesMax', this.#bytes, `The size of ${this.#what}`)
    const names = this.#names(path)
    const name = names.at(-1)
    if (name === undefined) {
      if (kind !== 'directory') throw this.#unsafe(path, 'it names the root itself')
      return { step: { kind: 'directory', path: '', mode: mode & modeKept }, parents: [], replaces: null }
    }
    if (kind === 'device' || kind === 'pipe') return { step: { kind: 'left-out' }, parents: [], replaces: null }
    const { directory, made: parents } = this.#parents(names, path)
    const clean = names.join('/')
    if (name.startsWith(removedPrefix)) return { step: this.#mark(names, path), parents, replaces: null }
    const before = directory.children.get(name)?.kind ?? null
    const step = this.#step(clean, { kind, path, target, mode })
    if (before === 'directory' && kind === 'directory') return { step, parents, replaces: null }
    directory.children.set(name, nodeOf(kind === 'directory' || kind === 'symlink' ? kind : 'file'))
    return { step, parents, replaces: before === null ? null : before === 'directory' ? 'directory' : 'file' }
  }

  /** What is gone from lower layers; where this layer has something itself, that stands. */
  removals(): { readonly removed: readonly string[]; readonly opaque: readonly string[] } {
    return {
      removed: [...this.#removed].filter((path) => this.#at(path) === null && this.#at(parentOf(path)) === 'directory'),
      // A directory that another entry has replaced since hides the lower ones by itself.
      opaque: [...this.#opaque].filter((path) => this.#at(path) === 'directory'),
    }
  }

  /** Whether a path is a directory of the layer now: what was one may have been replaced since, by a link too. */
  isDirectory(path: string): boolean {
    return this.#at(path) === 'directory'
  }

  get counted(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.#count, bytes: this.#bytes }
  }

  #step(clean: string, { kind, path, target, mode }: Pick<TarEntry, 'path' | 'kind' | 'target' | 'mode'>): Step {
    if (kind === 'directory') return { kind, path: clean, mode: mode & modeKept }
    if (kind === 'symlink') {
      if (target === '' || target.includes('\0')) throw this.#unsafe(path, 'it is a link to nothing')
      holdLimit('pathBytesMax', Buffer.byteLength(target), `The target of the link ${show(path)} in ${this.#what}`)
      return { kind, path: clean, target }
    }
    if (kind !== 'hardlink') return { kind: 'file', path: clean, mode: mode & modeKept }
    const to = this.#names(target).join('/')
    if (to === clean) throw this.#unsafe(path, 'it is a hard link to itself')
    if (to.startsWith(`${clean}/`)) throw this.#unsafe(path, 'it is a hard link to what it takes the place of')
    if (this.#at(to) !== 'file' && this.#at(to) !== 'symlink')
      throw this.#unsafe(path, `it is a hard link to ${show(target)}, which is no file of this layer`)
    return { kind, path: clean, target: to }
  }

  #mark(names: readonly string[], path: string): Step {
    const directory = names.slice(0, -1).join('/')
    const name = names.at(-1) ?? ''
    if (name === opaqueName) {
      this.#opaque.add(directory)
      return { kind: 'mark' }
    }
    const gone = name.slice(removedPrefix.length)
    // Names that start so twice are notes of an old driver about itself.
    if (gone.startsWith(removedPrefix)) return { kind: 'left-out' }
    if (gone === '' || gone === '.' || gone === '..') throw this.#unsafe(path, 'it removes what is no name')
    const clean = directory === '' ? gone : `${directory}/${gone}`
    this.#removed.add(clean)
    return { kind: 'mark' }
  }

  /** The names of a path. Leading slashes and dots are what archives have; dots that lead up are not. */
  #names(path: string): readonly string[] {
    holdLimit('pathBytesMax', Buffer.byteLength(path), `The path ${show(path)} in ${this.#what}`)
    if (path.includes('\0')) throw this.#unsafe(path, 'its name holds a NUL byte')
    const names = path.split('/').filter((name) => name !== '' && name !== '.')
    if (names.includes('..')) throw this.#unsafe(path, 'it leads up and out of the layer')
    holdLimit('depthMax', names.length, `The depth of ${show(path)} in ${this.#what}`)
    for (const name of names)
      holdLimit('nameBytesMax', Buffer.byteLength(name), `The name ${show(name)} in ${this.#what}`)
    return names
  }

  /** What the layer has at a path; null for nothing. */
  #at(path: string): Node['kind'] | null {
    let node: Node | undefined = this.#root
    for (const name of path.split('/').filter(Boolean)) node = node?.children.get(name)
    return node?.kind ?? null
  }

  /** The directory that a path lies in, and what of the way to it must be made. */
  #parents(names: readonly string[], path: string): { directory: Node; made: readonly string[] } {
    const made: string[] = []
    let node = this.#root
    for (const [depth, name] of names.slice(0, -1).entries()) {
      const way = names.slice(0, depth + 1).join('/')
      const there = node.children.get(name)
      if (there !== undefined && there.kind !== 'directory') {
        const what = there.kind === 'symlink' ? 'symbolic link' : 'file'
        throw this.#unsafe(path, `it leads through ${show(way)}, which is a ${what} of the same layer`)
      }
      if (there === undefined) {
        if (name.startsWith(removedPrefix))
          throw this.#unsafe(path, `it lies below ${show(way)}, which is a mark of removal`)
        node.children.set(name, nodeOf('directory'))
        made.push(way)
      }
      node = node.children.get(name) ?? node
    }
    return { directory: node, made }
  }

  #unsafe(path: string, why: string): SteadError {
    return new SteadError({
      code: 'image.unsafe-layer',
      message: `${this.#what} holds ${show(path)}, and ${why}.`,
      hint: 'No honest builder writes that. Nothing of the layer was kept.',
    })
  }
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')))
}

function show(path: string): string {
  return JSON.stringify(path.length > 200 ? `${path.slice(0, 200)}...` : path)
}
