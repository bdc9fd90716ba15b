/**
 * The app as a graph: who uses what, how each part is, what goes over the edges, what is broken. Boxes are buttons, so the
 * keyboard reaches them; edges are drawn under them. Invariant: nothing is laid out anew unless the graph itself changes.
 */
import type { JSX } from 'preact'
import { useEffect, useMemo, useRef } from 'preact/hooks'
import type { AppState, Shape } from '../wire.ts'
import { Edge } from './edge.tsx'
import { useMedia, useSize } from './hooks.ts'
import { Icon, iconOf } from './icons.tsx'
import { type Layout, layoutOf } from './layout.ts'
import { Node } from './node.tsx'
import { queueWord } from './queue.tsx'
import { kindWord, type PartView } from './parts.ts'
import { bytes, share, uptimeShare } from './words.ts'

/** The box from which requests come in. No part has such a name. */
const world = '@'
const wide = { nodeWidth: 188, nodeHeight: 68, direction: 'right', layerGap: 92, nodeGap: 22 } as const
const narrow = { nodeWidth: 108, nodeHeight: 56, direction: 'down', layerGap: 48, nodeGap: 9 } as const
type Boxes = typeof wide | typeof narrow
/** Smaller than this nothing can be read, and the drawing is moved instead. */
const scaleMin = { right: 0.62, down: 0.94 } as const
/** Room around the drawing. */
const marginPx = { right: 28, down: 10 } as const

export interface GraphProps {
  readonly app: AppState
  readonly parts: readonly PartView[]
  /** Names of single points of failure. */
  readonly alone: ReadonlySet<string>
  readonly nowMs: number
  readonly selected: string | null
  readonly onSelect: (part: string | null) => void
}

export function Graph({ app, parts, alone, nowMs, selected, onSelect }: GraphProps): JSX.Element {
  const phone = useMedia('(max-width: 640px)')
  const frame = useRef<HTMLDivElement>(null)
  const size = useSize(frame)
  const options = phone ? narrow : wide
  const layout = useMemo(() => layoutOfShape(app.shape, options), [app.shape, options])
  const margin = marginPx[options.direction]
  const room = Math.max(0, (size?.width ?? 900) - 2 * margin)
  const scale = Math.max(scaleMin[options.direction], Math.min(1, room / Math.max(1, layout.width)))
  const cuts = new Set(
    Object.values(app.faults).flatMap(({ status }) =>
      status.endedMs === null && status.fault.kind === 'cut' ? [`${status.fault.part}>${status.fault.uses}`] : [],
    ),
  )
  const full = Object.values(app.faults).some(
    ({ status }) => status.endedMs === null && status.fault.kind === 'fill-disk',
  )
  const width = layout.width * scale
  const height = layout.height * scale
  // What was chosen elsewhere may be out of sight; the page itself is not moved.
  useEffect(() => {
    const box = frame.current
    // With nothing chosen, the way in is where one begins to look.
    const place = layout.nodes.get(selected ?? world)
    if (box === null || place === undefined) return
    const left = place.x * scale + margin
    const top = place.y * scale + margin
    const seen =
      left >= box.scrollLeft &&
      left + options.nodeWidth * scale <= box.scrollLeft + box.clientWidth &&
      top >= box.scrollTop &&
      top + options.nodeHeight * scale <= box.scrollTop + box.clientHeight
    if (!seen) box.scrollTo({ left: left - box.clientWidth / 2, top: top - box.clientHeight / 2 })
  }, [selected, layout, scale])
  return (
    <div class="graph" ref={frame} role="group" aria-label={`The parts of ${app.head.app} and what they use`}>
      <div class="graph-room" style={{ width: `${width + 2 * margin}px`, height: `${height + 2 * (margin + 14)}px` }}>
        <div
          class="graph-drawing"
          style={{
            width: `${layout.width}px`,
            height: `${layout.height}px`,
            transform: `translate(${margin}px, ${margin + 14}px) scale(${scale})`,
          }}
        >
          <svg width={layout.width} height={layout.height} aria-hidden="true">
            {layout.edges.map(({ from, to, points }) => (
              <Edge
                key={`${from}>${to}`}
                points={points}
                direction={options.direction}
                cut={cuts.has(`${from}>${to}`)}
                strong={selected !== null && (from === selected || to === selected)}
                faint={selected !== null && from !== selected && to !== selected}
                traffic={app.traffic[`${from === world ? '' : from}>${to}`] ?? null}
              />
            ))}
          </svg>
          {layout.nodes.has(world) && (
            <div class="node node-world" style={placeOf(layout, world, options)}>
              <Icon name="world" />
              <span>{hostWords(app.shape)}</span>
            </div>
          )}
          {parts.map(({ shape, tone, state, uptime, memoryBytes, metrics }) => (
            <Node
              key={shape.name}
              name={shape.name}
              kind={kindWord(shape)}
              icon={iconOf(shape)}
              tone={tone}
              state={state}
              more={queueWord(metrics) ?? (memoryBytes === null ? null : bytes(memoryBytes))}
              uptime={uptime === null ? null : share(uptimeShare(uptime, nowMs))}
              alone={alone.has(shape.name)}
              full={full && shape.type === 'postgres'}
              selected={selected === shape.name}
              x={layout.nodes.get(shape.name)?.x ?? 0}
              y={layout.nodes.get(shape.name)?.y ?? 0}
              width={options.nodeWidth}
              height={options.nodeHeight}
              onSelect={onSelect}
            />
          ))}
        </div>
      </div>
    </div>
  )
}

function layoutOfShape(shape: Shape, options: Boxes): Layout {
  const ways = [...new Set(shape.routes.map(({ part }) => part))]
  const names = shape.parts.map(({ name }) => name)
  const uses = shape.parts.flatMap(({ name, uses: used }) => used.map((to) => ({ from: name, to })))
  const nodes = ways.length === 0 ? names : [world, ...names]
  return layoutOf(nodes, [...ways.map((to) => ({ from: world, to })), ...uses], options)
}

function hostWords({ routes }: Shape): string {
  const hosts = [...new Set(routes.map(({ host }) => host))]
  return hosts.length <= 1 ? (hosts[0] ?? '') : `${hosts[0]} and ${hosts.length - 1} more`
}

function placeOf(layout: Layout, id: string, { nodeWidth, nodeHeight }: Boxes): Place {
  const { x, y } = layout.nodes.get(id) ?? { x: 0, y: 0 }
  return { left: `${x}px`, top: `${y}px`, width: `${nodeWidth}px`, height: `${nodeHeight}px` }
}

/** Where a box lies, as its style. */
type Place = Record<'left' | 'top' | 'width' | 'height', string>
