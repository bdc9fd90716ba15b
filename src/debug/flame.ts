/**
 * A flame graph as SVG from weighted stacks. Pure; the picture needs no script and no network, and opens in any browser.
 * Width is the share, depth the call; same neighbours are joined and sorted by name, so that two graphs can be compared.
 */
import type { Profile, WeightedStack } from './recipe.ts'

interface Node {
  readonly name: string
  total: number
  readonly children: Map<string, Node>
}

const width = 1200
const rowHeight = 18
const headHeight = 46
const depthMax = 200
/** Narrower boxes are left out: nobody sees them, and a big profile stays a small file. */
const boxWidthMin = 0.4
/** Width of a character of the font, for cutting names. */
const characterWidth = 6.2

export function flameGraph(profile: Pick<Profile, 'stacks' | 'unit'>, title: string): string {
  const root = treeOf(profile.stacks)
  const boxes: string[] = []
  let depthSeen = 0
  const draw = (node: Node, x: number, depth: number): void => {
    const share = root.total === 0 ? 0 : node.total / root.total
    const boxWidth = share * width
    if (boxWidth < boxWidthMin || depth > depthMax) return
    depthSeen = Math.max(depthSeen, depth)
    const label = `${node.name} (${amount(node.total, profile.unit)}, ${(share * 100).toFixed(1)} %)`
    boxes.push(box(node.name, label, x, depth, boxWidth))
    let childX = x
    for (const child of [...node.children.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
      draw(child, childX, depth + 1)
      childX += (child.total / root.total) * width
    }
  }
  draw(root, 0, 0)
  const height = headHeight + (depthSeen + 1) * rowHeight + 10
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="ui-monospace, monospace" font-size="11">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="8" y="20" font-size="14" fill="#111">${escape(title)}</text>`,
    `<text x="8" y="37" fill="#666">${amount(root.total, profile.unit)} in all; point at a box for its share</text>`,
    ...boxes,
    '</svg>\n',
  ].join('\n')
}

function treeOf(stacks: readonly WeightedStack[]): Node {
  const root: Node = { name: 'all', total: 0, children: new Map() }
  for (const { frames, weight } of stacks) {
    root.total += weight
    let node = root
    for (const name of frames.slice(0, depthMax)) {
      const child: Node = node.children.get(name) ?? { name, total: 0, children: new Map() }
      node.children.set(name, child)
      child.total += weight
      node = child
    }
  }
  return root
}

function box(name: string, label: string, x: number, depth: number, boxWidth: number): string {
  const y = headHeight + depth * rowHeight
  const room = Math.floor((boxWidth - 6) / characterWidth)
  const shown = room < 3 ? '' : name.length <= room ? name : `${name.slice(0, room - 1)}…`
  const text = shown === '' ? '' : `<text x="${(x + 3).toFixed(1)}" y="${y + 13}" fill="#222">${escape(shown)}</text>`
  return `<g><title>${escape(label)}</title><rect x="${x.toFixed(1)}" y="${y}" width="${boxWidth.toFixed(1)}" height="${rowHeight - 1}" rx="1" fill="${colourOf(name)}"/>${text}</g>`
}

/** The program's own code warm, packages green, the runtime grey; within that by name, so that a function keeps its colour. */
function colourOf(name: string): string {
  let hash = 0
  for (const char of name) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) % 997
  const vary = hash / 997
  if (/^\((?:idle|program|garbage collector)\)$|^all$/.test(name)) return '#e4e4e4'
  if (/ node:| native|<frozen /.test(name)) return `hsl(215 20% ${(78 + vary * 8).toFixed(0)}%)`
  if (/node_modules|site-packages/.test(name)) return `hsl(95 35% ${(70 + vary * 12).toFixed(0)}%)`
  return `hsl(${(18 + vary * 28).toFixed(0)} 85% ${(66 + vary * 10).toFixed(0)}%)`
}

function amount(value: number, unit: Profile['unit']): string {
  switch (unit) {
    case 'microseconds':
      return value < 1e6 ? `${(value / 1000).toFixed(1)} ms` : `${(value / 1e6).toFixed(2)} s`
    case 'bytes':
      return value < 1e6 ? `${(value / 1000).toFixed(1)} kB` : `${(value / 1e6).toFixed(1)} MB`
    case 'samples':
      return `${value} samples`
  }
}

function escape(text: string): string {
  // Control characters are not allowed in XML at all, and names come from whatever runs.
  // oxlint-disable-next-line no-control-regex
  const clean = text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|[\ud800-\udfff]/gu, '?')
  return clean.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
