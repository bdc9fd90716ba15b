/** A flame graph that can be walked into: each box a button that makes its function the whole. */
import type { JSX } from 'preact'
import { useMemo, useState } from 'preact/hooks'
import { amountOf, boxesOf, type FlameNode, originOf, type Profile, shadeOf, treeOf } from './flame.ts'

const rowPx = 21

const words: Readonly<Record<Profile['kind'], string>> = {
  cpu: 'work',
  wall: 'time, working or waiting',
  heap: 'memory that was asked for',
}

export function Flame({ profile }: { readonly profile: Profile }): JSX.Element {
  const root = useMemo(() => treeOf(profile.stacks), [profile])
  const [whole, setWhole] = useState<FlameNode>(root)
  const [pointed, setPointed] = useState<FlameNode | null>(null)
  // Another profile begins anew.
  const shown = contains(root, whole) ? whole : root
  const boxes = useMemo(() => boxesOf(shown), [shown])
  const { unit, kind } = profile
  const share = (node: FlameNode): string => `${((100 * node.total) / Math.max(root.total, 1)).toFixed(1)} %`
  const told = pointed ?? shown
  const depth = Math.max(0, ...boxes.map((box) => box.depth))
  if (root.total === 0) return <p class="look quiet small">Nothing was seen in that time.</p>
  return (
    <figure class="flame">
      <figcaption>
        <span class="flame-told">
          {told.name === ''
            ? `${amountOf(root.total, unit)} of ${words[kind]} in all. Choose a box to look into it.`
            : `${told.name}: ${amountOf(told.total, unit)}, ${share(told)}`}
        </span>
        {shown !== root && (
          <button type="button" class="link" onClick={() => setWhole(root)}>
            The whole
          </button>
        )}
      </figcaption>
      <div class="flame-room" style={{ height: `${(depth + 1) * rowPx}px` }} onMouseLeave={() => setPointed(null)}>
        {boxes.map(({ node, depth: at, from, width }, index) => (
          <button
            key={index}
            type="button"
            class={`flame-box flame-${originOf(node.name)}`}
            style={{
              left: `${from * 100}%`,
              width: `${width * 100}%`,
              top: `${at * rowPx}px`,
              '--shade': shadeOf(node.name).toFixed(2),
            }}
            title={`${node.name === '' ? 'all' : node.name}: ${amountOf(node.total, unit)}, ${share(node)}`}
            onMouseEnter={() => setPointed(node)}
            onFocus={() => setPointed(node)}
            onBlur={() => setPointed(null)}
            onClick={() => setWhole(node)}
          >
            {node.name === '' ? 'all' : node.name}
          </button>
        ))}
      </div>
    </figure>
  )
}

function contains(root: FlameNode, node: FlameNode): boolean {
  return root === node || root.children.some((child) => contains(child, node))
}
