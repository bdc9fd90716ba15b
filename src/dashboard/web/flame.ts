/**
 * A flame graph worked out: which box lies where. Pure. Invariant: the same stacks give the same picture, whatever their order:
 * width is the share, depth the call, neighbours are joined and stand in the order of their names.
 */

/** As the platform tells a profile. */
export interface Profile {
  readonly kind: 'cpu' | 'wall' | 'heap'
  readonly unit: 'microseconds' | 'bytes' | 'samples'
  readonly stacks: readonly { readonly frames: readonly string[]; readonly weight: number }[]
}

export interface FlameNode {
  /** Empty for the whole. */
  readonly name: string
  readonly total: number
  readonly children: readonly FlameNode[]
}

/** One box of the picture. */
export interface FlameBox {
  readonly node: FlameNode
  readonly depth: number
  /** Where it begins and how wide it is, of the whole width, which is 1. */
  readonly from: number
  readonly width: number
}

/** Deeper calls are left out. */
const depthMax = 120
/** Narrower boxes are left out: nobody could see or hit them. */
const widthMin = 0.004

interface Growing {
  total: number
  readonly children: Map<string, Growing>
}

export function treeOf(stacks: Profile['stacks']): FlameNode {
  const root: Growing = { total: 0, children: new Map() }
  for (const { frames, weight } of stacks) {
    root.total += weight
    let at = root
    for (const name of frames.slice(0, depthMax)) {
      const child = at.children.get(name) ?? { total: 0, children: new Map() }
      at.children.set(name, child)
      child.total += weight
      at = child
    }
  }
  return grown('', root)
}

function grown(name: string, { total, children }: Growing): FlameNode {
  const inOrder = [...children].sort(([a], [b]) => (a < b ? -1 : 1))
  return { name, total, children: inOrder.map(([own, child]) => grown(own, child)) }
}

/** The boxes below a node, which itself takes the whole width. */
export function boxesOf(root: FlameNode): readonly FlameBox[] {
  const boxes: FlameBox[] = []
  const place = (node: FlameNode, depth: number, from: number): void => {
    const width = root.total === 0 ? 0 : node.total / root.total
    if (width < widthMin) return
    boxes.push({ node, depth, from, width })
    let next = from
    for (const child of node.children) {
      place(child, depth + 1, next)
      next += child.total / root.total
    }
  }
  place(root, 0, 0)
  return boxes
}

/** What a function is: the program's own, of a package, of the runtime; or no work at all. */
export function originOf(name: string): 'own' | 'package' | 'runtime' | 'rest' {
  if (name === '' || /^\((?:idle|program|garbage collector)\)$/.test(name)) return 'rest'
  if (/ node:| native|<frozen /.test(name)) return 'runtime'
  return /node_modules|site-packages/.test(name) ? 'package' : 'own'
}

/** A figure between 0 and 1 that a function keeps, for its shade. */
export function shadeOf(name: string): number {
  let hash = 0
  for (const char of name) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) % 997
  return hash / 997
}

/** So much of a profile, in words. */
export function amountOf(value: number, unit: Profile['unit']): string {
  switch (unit) {
    case 'microseconds':
      return value < 1e6 ? `${(value / 1000).toFixed(1)} ms` : `${(value / 1e6).toFixed(2)} s`
    case 'bytes':
      return value < 1e6 ? `${(value / 1000).toFixed(1)} kB` : `${(value / 1e6).toFixed(1)} MB`
    case 'samples':
      return `${value} samples`
  }
}
