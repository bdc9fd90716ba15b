/** One use, as a line from a box to another: thicker with more requests, red where they fail or where it is cut. */
import type { JSX } from 'preact'
import type { EdgeTraffic } from '../../operator/index.ts'
import { pathOf, type Point } from './layout.ts'
import { memo } from './memo.ts'
import { rate } from './words.ts'

export interface EdgeProps {
  readonly points: readonly Point[]
  readonly direction: 'right' | 'down'
  readonly cut: boolean
  readonly strong: boolean
  readonly faint: boolean
  readonly traffic: EdgeTraffic | null
}

export const Edge = memo(function Edge({ points, direction, cut, strong, faint, traffic }: EdgeProps): JSX.Element {
  const failing = traffic !== null && traffic.errorsPerSecond > 0
  const name = ['edge', cut && 'edge-cut', failing && 'edge-failing', strong && 'edge-strong', faint && 'edge-faint']
  const [a, b] = points
  const middle = a === undefined || b === undefined ? null : { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 }
  const last = points.at(-1)
  const width = traffic === null ? undefined : 1.5 + Math.min(2, Math.log10(1 + traffic.requestsPerSecond))
  return (
    <g class={name.filter(Boolean).join(' ')}>
      <path d={pathOf(points, direction)} stroke-width={width} />
      {last !== undefined && <circle class="edge-end" cx={last.x} cy={last.y} r="3" />}
      {middle !== null && cut && (
        <path class="edge-cross" d={`M${middle.x - 6} ${middle.y - 6}l12 12M${middle.x + 6} ${middle.y - 6}l-12 12`} />
      )}
      {middle !== null && traffic !== null && traffic.requestsPerSecond > 0 && (
        <text x={middle.x} y={middle.y - (direction === 'right' ? 8 : -4)} text-anchor="middle">
          {rate(traffic.requestsPerSecond)}/s
          {failing && <tspan class="edge-errors">{` ${rate(traffic.errorsPerSecond)} failing`}</tspan>}
        </text>
      )}
    </g>
  )
})
