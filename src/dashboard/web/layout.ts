/**
 * Where the parts of a graph are drawn, pure: layers along the uses, few crossings, straight edges where that is possible.
 * Invariants: equal graphs give equal pictures; nothing overlaps; every edge leads forward, and around the boxes in its way.
 *
 * After Sugiyama: layers by the longest path, stand-ins where an edge passes a layer, order by barycentres, and positions
 * that are as near to the neighbours' as the order allows (least squares, by pooling adjacent violators).
 */

export interface LayoutOptions {
  /** Which way uses lead. */
  readonly direction: 'right' | 'down'
  readonly nodeWidth: number
  readonly nodeHeight: number
  /** Between two layers, and between two boxes of one. */
  readonly layerGap: number
  readonly nodeGap: number
}

export interface Point {
  readonly x: number
  readonly y: number
}

export interface Layout {
  readonly width: number
  readonly height: number
  /** Upper left corner of each box. */
  readonly nodes: ReadonlyMap<string, Point>
  readonly edges: readonly { readonly from: string; readonly to: string; readonly points: readonly Point[] }[]
}

export interface GraphEdge {
  readonly from: string
  readonly to: string
}

/** A box, or the stand-in of an edge in a layer that it passes. */
interface Cell {
  readonly id: string
  readonly real: boolean
  readonly before: Cell[]
  readonly after: Cell[]
  /** Centre across the layers. */
  at: number
}

const orderSweeps = 12
const placeSweeps = 12

/** `nodes` in any order; edges whose ends are not among them are left out. The graph must have no cycle. */
export function layoutOf(nodes: readonly string[], edges: readonly GraphEdge[], options: LayoutOptions): Layout {
  const known = new Set(nodes)
  const links = edges.filter(({ from, to }) => known.has(from) && known.has(to) && from !== to)
  const { layers, chains } = layered([...nodes].sort(), links)
  orderLayers(layers)
  place(layers, options)
  return drawn(layers, chains, options)
}

function layered(
  nodes: readonly string[],
  links: readonly GraphEdge[],
): { layers: Cell[][]; chains: { from: string; to: string; cells: Cell[] }[] } {
  const depth = depths(nodes, links)
  const layers: Cell[][] = Array.from({ length: Math.max(0, ...depth.values()) + 1 }, () => [])
  const add = (id: string, real: boolean, layer: number): Cell => {
    const cell: Cell = { id, real, before: [], after: [], at: 0 }
    layers[layer]?.push(cell)
    return cell
  }
  const cells = new Map(nodes.map((id) => [id, add(id, true, depth.get(id) ?? 0)]))
  const chains = links.flatMap(({ from, to }) => {
    const first = cells.get(from)
    const last = cells.get(to)
    if (first === undefined || last === undefined) return []
    const passed = Array.from({ length: (depth.get(to) ?? 0) - (depth.get(from) ?? 0) - 1 }, (_, index) =>
      add(`${from}>${to}`, false, (depth.get(from) ?? 0) + index + 1),
    )
    const chain = [first, ...passed, last]
    for (const [index, cell] of chain.entries()) {
      const next = chain[index + 1]
      if (next === undefined) continue
      cell.after.push(next)
      next.before.push(cell)
    }
    return [{ from, to, cells: chain }]
  })
  return { layers, chains }
}

/** The layer of each node: behind all that use it, and no further from what it uses than it must be. */
function depths(nodes: readonly string[], links: readonly GraphEdge[]): Map<string, number> {
  const depth = new Map(nodes.map((id) => [id, 0]))
  // A longest path has fewer edges than there are nodes.
  for (let round = 0; round < nodes.length; round += 1) {
    let moved = false
    for (const { from, to } of links) {
      const least = (depth.get(from) ?? 0) + 1
      if ((depth.get(to) ?? 0) >= least) continue
      depth.set(to, least)
      moved = true
    }
    if (!moved) break
  }
  for (const id of nodes) {
    if (links.some(({ to }) => to === id)) continue
    const used = links.filter(({ from }) => from === id).map(({ to }) => depth.get(to) ?? 0)
    if (used.length > 0) depth.set(id, Math.min(...used) - 1)
  }
  return depth
}

/** Orders every layer by where its neighbours are, to and fro, and keeps the order with the fewest crossings. */
function orderLayers(layers: Cell[][]): void {
  let best = layers.map((layer) => [...layer])
  let fewest = crossings(layers)
  for (let sweep = 0; sweep < orderSweeps && fewest > 0; sweep += 1) {
    const forward = sweep % 2 === 0
    for (const layer of forward ? layers : layers.toReversed()) {
      const others = (cell: Cell): readonly Cell[] => (forward ? cell.before : cell.after)
      const rank = ranks(layers)
      const weight = new Map(
        layer.map((cell, index) => [cell, mean(others(cell).map((other) => rank.get(other) ?? 0)) ?? index]),
      )
      layer.sort((a, b) => (weight.get(a) ?? 0) - (weight.get(b) ?? 0))
    }
    const count = crossings(layers)
    if (count >= fewest) continue
    fewest = count
    best = layers.map((layer) => [...layer])
  }
  for (const [index, layer] of layers.entries()) layer.splice(0, layer.length, ...(best[index] ?? []))
}

function ranks(layers: readonly (readonly Cell[])[]): Map<Cell, number> {
  return new Map(layers.flatMap((layer) => layer.map((cell, index) => [cell, index / Math.max(1, layer.length - 1)])))
}

function crossings(layers: readonly (readonly Cell[])[]): number {
  let count = 0
  for (const [index, layer] of layers.entries()) {
    const next = layers[index + 1]
    if (next === undefined) continue
    const position = new Map(next.map((cell, at) => [cell, at]))
    const ends = layer.map((cell) => cell.after.map((other) => position.get(other) ?? 0))
    for (const [left, own] of ends.entries())
      for (const others of ends.slice(left + 1)) for (const a of own) for (const b of others) if (a > b) count += 1
  }
  return count
}

/** Gives every cell its centre across the layers: as near to its neighbours as order and gaps allow. */
function place(layers: readonly Cell[][], options: LayoutOptions): void {
  const size = options.direction === 'right' ? options.nodeHeight : options.nodeWidth
  const extent = (cell: Cell): number => (cell.real ? size : 0)
  const offsets = layers.map((layer) => {
    let at = 0
    return layer.map((cell, index) => {
      const previous = layer[index - 1]
      if (previous !== undefined) at += (extent(previous) + extent(cell)) / 2 + options.nodeGap
      return at
    })
  })
  for (const [index, layer] of layers.entries()) {
    const own = offsets[index] ?? []
    const middle = (own.at(-1) ?? 0) / 2
    for (const [at, cell] of layer.entries()) cell.at = (own[at] ?? 0) - middle
  }
  for (let sweep = 0; sweep < placeSweeps; sweep += 1) {
    const indexes = [...layers.keys()]
    for (const index of sweep % 2 === 0 ? indexes : indexes.reverse()) {
      const layer = layers[index] ?? []
      const own = offsets[index] ?? []
      const wanted = layer.map((cell, at) => {
        const neighbours = [...cell.before, ...cell.after].map((other) => other.at)
        return (mean(neighbours) ?? cell.at) - (own[at] ?? 0)
      })
      for (const [at, value] of nondecreasing(wanted).entries()) {
        const cell = layer[at]
        if (cell !== undefined) cell.at = value + (own[at] ?? 0)
      }
    }
  }
}

/** The nondecreasing numbers that are nearest to these, in the sense of least squares. */
function nondecreasing(values: readonly number[]): number[] {
  const pools: { sum: number; count: number }[] = []
  for (const value of values) {
    let pool = { sum: value, count: 1 }
    for (let last = pools.at(-1); last !== undefined && last.sum / last.count > pool.sum / pool.count;) {
      pool = { sum: last.sum + pool.sum, count: last.count + pool.count }
      pools.pop()
      last = pools.at(-1)
    }
    pools.push(pool)
  }
  return pools.flatMap(({ sum, count }) => Array.from({ length: count }, () => sum / count))
}

function drawn(
  layers: readonly Cell[][],
  chains: readonly { from: string; to: string; cells: Cell[] }[],
  { direction, nodeWidth, nodeHeight, layerGap }: LayoutOptions,
): Layout {
  const right = direction === 'right'
  const along = right ? nodeWidth : nodeHeight
  const across = right ? nodeHeight : nodeWidth
  const cells = layers.flat()
  const least = Math.min(0, ...cells.map((cell) => cell.at - (cell.real ? across / 2 : 0)))
  const most = Math.max(0, ...cells.map((cell) => cell.at + (cell.real ? across / 2 : 0)))
  const layerOf = new Map(layers.flatMap((layer, index) => layer.map((cell) => [cell, index])))
  const point = (main: number, cross: number): Point => (right ? { x: main, y: cross } : { x: cross, y: main })
  const start = (cell: Cell): number => (layerOf.get(cell) ?? 0) * (along + layerGap)
  const centre = (cell: Cell): number => Math.round(cell.at - least)
  const nodes = new Map(
    cells.filter((cell) => cell.real).map((cell) => [cell.id, point(start(cell), centre(cell) - across / 2)]),
  )
  const edges = chains.map(({ from, to, cells: chain }) => ({
    from,
    to,
    points: chain.flatMap((cell, index) => {
      if (index === 0) return [point(start(cell) + along, centre(cell))]
      if (index === chain.length - 1) return [point(start(cell), centre(cell))]
      return [point(start(cell), centre(cell)), point(start(cell) + along, centre(cell))]
    }),
  }))
  const length = layers.length * along + Math.max(0, layers.length - 1) * layerGap
  const breadth = Math.round(most - least)
  return { width: right ? length : breadth, height: right ? breadth : length, nodes, edges }
}

/** The path of an edge: smooth between layers, straight past the boxes of one. */
export function pathOf(points: readonly Point[], direction: LayoutOptions['direction']): string {
  const [first, ...others] = points
  if (first === undefined) return ''
  let from = first
  const pieces = others.map((to, index) => {
    const previous = from
    from = to
    if (index % 2 === 1) return `L${to.x} ${to.y}`
    if (direction === 'right') {
      const middle = (previous.x + to.x) / 2
      return `C${middle} ${previous.y} ${middle} ${to.y} ${to.x} ${to.y}`
    }
    const middle = (previous.y + to.y) / 2
    return `C${previous.x} ${middle} ${to.x} ${middle} ${to.x} ${to.y}`
  })
  return `M${first.x} ${first.y}${pieces.join('')}`
}

function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length
}
