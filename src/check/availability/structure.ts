/**
 * What must work for a whole to work: parts joined by "all of" and "at least k of", where one part may stand in several
 * places, as a node does that carries two replicas. The exact probability comes from a decision diagram, which conditions on
 * every shared part; multiplying replicas on one node would count that node twice.
 */
import { SteadError } from '../../base/index.ts'

/** Something that fails by itself. */
export interface Part {
  readonly id: string
  readonly label: string
  readonly kind: string
  readonly availability: number
}

export type Structure =
  | { readonly kind: 'part'; readonly part: Part }
  | { readonly kind: 'all'; readonly of: readonly Structure[] }
  | { readonly kind: 'atLeast'; readonly needed: number; readonly of: readonly Structure[] }

/** Most parts whose pairs are looked at, and most nodes of a diagram: beyond, the answer is an error, not a guess. */
const partsMax = 500
const nodesMax = 300_000

export function part(found: Part): Structure {
  return { kind: 'part', part: found }
}

export function all(...of: readonly Structure[]): Structure {
  return { kind: 'all', of }
}

export function atLeast(needed: number, ...of: readonly Structure[]): Structure {
  return { kind: 'atLeast', needed, of }
}

/** The parts of a structure, each once, in the order in which they are met. */
export function partsOf(structure: Structure): readonly Part[] {
  const found = new Map<string, Part>()
  const visit = (node: Structure): void => {
    if (node.kind === 'part') found.set(node.part.id, found.get(node.part.id) ?? node.part)
    else for (const child of node.of) visit(child)
  }
  visit(structure)
  return [...found.values()]
}

/** Whether the whole works while these parts do not. */
export function worksWithout(structure: Structure, down: ReadonlySet<string>): boolean {
  switch (structure.kind) {
    case 'part':
      return !down.has(structure.part.id)
    case 'all':
      return structure.of.every((child) => worksWithout(child, down))
    case 'atLeast':
      return structure.of.filter((child) => worksWithout(child, down)).length >= structure.needed
  }
}

/** The smallest sets of parts whose failure takes the whole down, of one and of two parts. */
export interface CutSets {
  /** Single points of failure. */
  readonly singles: readonly Part[]
  readonly pairs: readonly (readonly [Part, Part])[]
}

/** Throws `check.too-complex` beyond 500 parts. */
export function cutSets(structure: Structure): CutSets {
  const parts = partsOf(structure)
  if (parts.length > partsMax)
    throw tooComplex(`it has ${parts.length} parts, and pairs of at most ${partsMax} are looked at`)
  const singles = parts.filter(({ id }) => !worksWithout(structure, new Set([id])))
  const ids = new Set(singles.map(({ id }) => id))
  const others = parts.filter(({ id }) => !ids.has(id))
  const pairs: [Part, Part][] = []
  for (const [index, first] of others.entries())
    for (const second of others.slice(index + 1))
      if (!worksWithout(structure, new Set([first.id, second.id]))) pairs.push([first, second])
  return { singles, pairs }
}

/** A node of the decision diagram: what holds while the part works, and while it does not. 0 is never, 1 is always. */
interface Node {
  readonly level: number
  readonly up: number
  readonly down: number
}

/** Exact availability. Throws `check.too-complex` when the diagram grows too large. */
export function availability(structure: Structure): number {
  const parts = partsOf(structure)
  const levels = new Map(parts.map(({ id }, level) => [id, level]))
  const diagram = new Diagram(parts.length)
  const root = diagram.build(structure, levels)
  return diagram.probability(
    root,
    parts.map((found) => found.availability),
  )
}

class Diagram {
  readonly #nodes: Node[]
  readonly #unique = new Map<string, number>()
  readonly #memo = { and: new Map<number, number>(), or: new Map<number, number>() }

  constructor(levels: number) {
    const end: Node = { level: levels, up: 0, down: 0 }
    this.#nodes = [end, end]
  }

  build(structure: Structure, levels: ReadonlyMap<string, number>): number {
    switch (structure.kind) {
      case 'part':
        return this.#node(levels.get(structure.part.id) ?? 0, 1, 0)
      case 'all':
        // From the last part up: what is joined is then mostly above what it is joined to.
        return structure.of.reduceRight((sum, child) => this.#join('and', this.build(child, levels), sum), 1)
      case 'atLeast':
        return this.#atLeast(
          structure.needed,
          structure.of.map((child) => this.build(child, levels)),
        )
    }
  }

  probability(root: number, chances: readonly number[]): number {
    const known = new Map<number, number>([
      [0, 0],
      [1, 1],
    ])
    const visit = (index: number): number => {
      const found = known.get(index)
      if (found !== undefined) return found
      const node = this.#at(index)
      const chance = chances[node.level] ?? 0
      const result = chance * visit(node.up) + (1 - chance) * visit(node.down)
      known.set(index, result)
      return result
    }
    return visit(root)
  }

  /** reached[k]: at least k of those seen so far work. */
  #atLeast(needed: number, of: readonly number[]): number {
    const reached: number[] = [1, ...Array.from({ length: needed }, () => 0)]
    for (const child of of)
      for (let count = needed; count >= 1; count--)
        reached[count] = this.#join('or', reached[count] ?? 0, this.#join('and', reached[count - 1] ?? 0, child))
    return reached[needed] ?? 0
  }

  #join(operation: 'and' | 'or', a: number, b: number): number {
    const [absorbing, neutral] = operation === 'and' ? [0, 1] : [1, 0]
    if (a === absorbing || b === absorbing) return absorbing
    if (a === neutral || a === b) return b
    if (b === neutral) return a
    const key = a < b ? a * nodesMax + b : b * nodesMax + a
    const known = this.#memo[operation].get(key)
    if (known !== undefined) return known
    const [first, second] = [this.#at(a), this.#at(b)]
    const level = Math.min(first.level, second.level)
    const branch = (node: Node, index: number, side: 'up' | 'down'): number =>
      node.level === level ? node[side] : index
    const up = this.#join(operation, branch(first, a, 'up'), branch(second, b, 'up'))
    const down = this.#join(operation, branch(first, a, 'down'), branch(second, b, 'down'))
    const result = this.#node(level, up, down)
    this.#memo[operation].set(key, result)
    return result
  }

  #node(level: number, up: number, down: number): number {
    if (up === down) return up
    const key = `${level},${up},${down}`
    const known = this.#unique.get(key)
    if (known !== undefined) return known
    if (this.#nodes.length >= nodesMax) throw tooComplex('its parts share more than can be worked out exactly')
    const index = this.#nodes.push({ level, up, down }) - 1
    this.#unique.set(key, index)
    return index
  }

  #at(index: number): Node {
    const node = this.#nodes[index]
    if (node === undefined) throw new Error('a diagram points to a node it does not have')
    return node
  }
}

function tooComplex(why: string): SteadError {
  return new SteadError({
    code: 'check.too-complex',
    message: `The availability of this design is not computed: ${why}.`,
    hint: 'Check a part of it.',
  })
}
