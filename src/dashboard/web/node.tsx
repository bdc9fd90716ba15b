/** One part, as a box of the graph. It is a button: the keyboard reaches it, and a screen reader says how the part is. */
import type { JSX } from 'preact'
import { Icon, type IconName } from './icons.tsx'
import { memo } from './memo.ts'

export interface NodeProps {
  readonly name: string
  readonly kind: string
  readonly icon: IconName
  readonly tone: string
  readonly state: string
  /** What is said beside the state: its memory, or of a queue what is in it. Null where it is not known. */
  readonly more: string | null
  readonly uptime: string | null
  /** Whether nothing stands in for it. */
  readonly alone: boolean
  readonly full: boolean
  readonly selected: boolean
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
  readonly onSelect: (part: string | null) => void
}

export const Node = memo(function Node(part: NodeProps): JSX.Element {
  const { name, kind, icon, tone, state, more, uptime, alone, full, selected, x, y, width, height, onSelect } = part
  const label = [
    name,
    kind,
    state,
    uptime === null ? null : `up ${uptime}`,
    full ? 'disk full' : more,
    alone ? 'a single point of failure: nothing stands in for it' : null,
  ]
  return (
    <button
      type="button"
      class={`node tone-${tone}${selected ? ' node-selected' : ''}`}
      style={{ left: `${x}px`, top: `${y}px`, width: `${width}px`, height: `${height}px` }}
      aria-pressed={selected}
      aria-label={label.filter((word) => word !== null).join(', ')}
      onClick={() => onSelect(selected ? null : name)}
    >
      <span class="node-icon">
        <Icon name={icon} />
      </span>
      <span class="node-text">
        <span class="node-name">{name}</span>
        <span class="node-state">
          <i class="dot" />
          <span class="node-word">
            {full ? 'disk full' : state}
            {!full && more !== null && <span class="node-more">{` · ${more}`}</span>}
          </span>
        </span>
      </span>
      {alone && <i class="single node-single" title="A single point of failure: nothing stands in for it" />}
      {uptime !== null && uptime !== '100 %' && <span class="node-uptime">{uptime}</span>}
    </button>
  )
})
