/**
 * The time line, newest first: a dot for each release, an arc from each return to where it went back to, branches that leave
 * the line, and checkpoints on it. Each row draws its own piece, so that one may be opened without anything being laid out.
 */
import type { ComponentChildren, JSX } from 'preact'
import { useMemo, useState } from 'preact/hooks'
import type { ReleaseView } from '../release-wire.ts'
import { type RailItem, railOf, type RailRow } from './rail.ts'
import { ago, stateOf, took, wayOf } from './release-words.ts'
import type { Held } from './held.ts'

const lanePx = 13
/** Where the dot of a row is, from its top; and the checkpoint of before it. */
const dotPx = 27
const beforePx = 50
const sidePx = 12
/** Rows that are shown before somebody asks for all. */
const rowsFew = 60
const stubPx = 20

export interface TimelineProps {
  readonly held: Held
  readonly nowMs: number
  readonly chosen: number | null
  readonly onChoose: (release: number | null) => void
  /** What is shown of the release that is chosen. */
  readonly detail: (release: ReleaseView) => ComponentChildren
}

export function Timeline({ held, nowMs, chosen, onChoose, detail }: TimelineProps): JSX.Element {
  const rows = useMemo(() => railOf(held), [held])
  const [all, setAll] = useState(false)
  const shown = all ? rows : rows.slice(0, rowsFew)
  const lanes = Math.max(0, ...rows.flatMap(({ leaves }) => leaves?.lane ?? []))
  const before = new Map(held.checkpoints.flatMap(({ before: of, name }) => (of === null ? [] : [[of, name] as const])))
  return (
    <section class="card timeline" aria-labelledby="timeline">
      <header class="instances-head">
        <h2 id="timeline">Time line</h2>
        <p class="quiet small">
          <span class="rail-key">
            <i class="rail-key-arc" aria-hidden="true" />
            went back
          </span>
          <span class="rail-key">
            <i class="rail-key-ring" aria-hidden="true" />
            branch
          </span>
          <span class="rail-key">
            <i class="rail-key-mark" aria-hidden="true" />
            checkpoint
          </span>
        </p>
      </header>
      <ol class="rail-rows">
        {shown.map((row) => {
          const { item } = row
          const mark = item.kind === 'release' ? (before.get(item.release.number) ?? null) : null
          return (
            <li key={keyOf(item)} class={item.kind === 'release' ? 'rail-row' : 'rail-row rail-row-small'}>
              <Rail row={row} lanes={lanes} marked={mark !== null} />
              {item.kind === 'release' ? (
                <ReleaseRow
                  release={item.release}
                  checkpoint={mark}
                  nowMs={nowMs}
                  open={chosen === item.release.number}
                  onChoose={onChoose}
                  detail={detail}
                />
              ) : (
                <Hanging item={item} nowMs={nowMs} />
              )}
            </li>
          )
        })}
      </ol>
      {shown.length < rows.length && (
        <button type="button" class="button" onClick={() => setAll(true)}>
          Show what is older
        </button>
      )}
    </section>
  )
}

function keyOf(item: RailItem): string {
  switch (item.kind) {
    case 'release':
      return `release ${item.release.number}`
    case 'branch':
      return `branch ${item.branch.name}`
    case 'left':
      return `left ${item.copy}`
    case 'checkpoint':
      return `checkpoint ${item.checkpoint.name}`
  }
}

interface RowProps {
  readonly release: ReleaseView
  /** The checkpoint of before it. */
  readonly checkpoint: string | null
  readonly nowMs: number
  readonly open: boolean
  readonly onChoose: (release: number | null) => void
  readonly detail: (release: ReleaseView) => ComponentChildren
}

function ReleaseRow({ release, checkpoint, nowMs, open, onChoose, detail }: RowProps): JSX.Element {
  const { number, live, rollout, createdAtMs, by } = release
  const { word, tone } = stateOf(release)
  const endMs = rollout?.endMs ?? null
  const reason = rollout?.reason?.split('\n')[0]
  const words = [
    `by ${by}`,
    wayOf(release),
    ...(rollout === null || endMs === null ? [] : [`took ${took(endMs - rollout.startMs)}`]),
  ]
  const id = `release-${number}`
  return (
    <div class="release" id={id}>
      <button
        type="button"
        class="release-head"
        aria-expanded={open}
        aria-controls={`${id}-more`}
        onClick={() => onChoose(open ? null : number)}
      >
        <span class="release-title">
          <strong>{`Release ${number}`}</strong>
          {live && <span class="badge tone-good">live</span>}
          <span class={`state tone-${tone}`}>{word}</span>
          <time
            class="quiet number"
            dateTime={new Date(createdAtMs).toISOString()}
            title={new Date(createdAtMs).toLocaleString()}
          >
            {ago(nowMs - createdAtMs)}
          </time>
        </span>
        <span class="release-words">
          {words.join(' · ')}
          {checkpoint !== null && (
            <>
              {' · before it '}
              <code>{checkpoint}</code>
            </>
          )}
        </span>
        {reason !== undefined && <span class="release-words release-reason">{reason}</span>}
      </button>
      {open && (
        <div class="release-more" id={`${id}-more`}>
          {detail(release)}
        </div>
      )}
    </div>
  )
}

function Hanging({ item, nowMs }: { readonly item: RailItem; readonly nowMs: number }): JSX.Element | null {
  switch (item.kind) {
    case 'release':
      return null
    case 'branch': {
      const { name, by, urls, purpose } = item.branch
      return (
        <p class="hanging">
          <code>{name}</code>
          <span class="quiet">{`${purpose === 'look' ? 'a look' : 'a branch'} by ${by}`}</span>
          {urls.slice(0, 1).map((url) => (
            <a key={url} href={url} target="_blank" rel="noopener noreferrer">
              {url.replace(/^https?:\/\//, '')}
            </a>
          ))}
        </p>
      )
    }
    case 'left':
      return (
        <p class="hanging">
          <code>{item.copy}</code>
          <span class="quiet">{`the data as it was until release ${item.by}, ${ago(nowMs - item.atMs)}`}</span>
        </p>
      )
    case 'checkpoint': {
      const { name, by, createdAtMs } = item.checkpoint
      return (
        <p class="hanging">
          <code>{name}</code>
          <span class="quiet">{`a checkpoint by ${by}, ${ago(nowMs - createdAtMs)}`}</span>
        </p>
      )
    }
  }
}

interface RailProps {
  readonly row: RailRow
  readonly lanes: number
  /** Whether a checkpoint was made before it. */
  readonly marked: boolean
}

function Rail({ row, lanes, marked }: RailProps): JSX.Element {
  const { item, above, below, faintAbove, faintBelow, pass, leaves, arrive } = row
  const x = (lane: number): number => sidePx + (lanes - lane) * lanePx
  const main = x(0)
  const isRelease = item.kind === 'release'
  const y = isRelease ? dotPx : 17
  const tone = item.kind === 'release' ? stateOf(item.release).tone : 'idle'
  const curve = (lane: number, to: number): string =>
    `M${main} ${y}C${x(lane)} ${y} ${x(lane)} ${y + to * 4} ${x(lane)} ${y + to * 18}`
  return (
    <svg class="rail" width={main + stubPx + sidePx} aria-hidden="true">
      {above && <line class={faintAbove ? 'rail-line rail-faint' : 'rail-line'} x1={main} x2={main} y1="0" y2={y} />}
      {below && <line class={faintBelow ? 'rail-line rail-faint' : 'rail-line'} x1={main} x2={main} y1={y} y2="100%" />}
      {pass.map(({ lane, withData }) => (
        <line key={lane} class={arcClass(withData)} x1={x(lane)} x2={x(lane)} y1="0" y2="100%" />
      ))}
      {leaves !== null && (
        <>
          <path class={arcClass(leaves.withData)} d={curve(leaves.lane, 1)} />
          <line class={arcClass(leaves.withData)} x1={x(leaves.lane)} x2={x(leaves.lane)} y1={y + 18} y2="100%" />
        </>
      )}
      {arrive.map(({ lane, withData }) => (
        <g key={lane}>
          <line class={arcClass(withData)} x1={x(lane)} x2={x(lane)} y1="0" y2={Math.max(0, y - 18)} />
          <path class={arcClass(withData)} d={curve(lane, -1)} />
        </g>
      ))}
      {(item.kind === 'branch' || item.kind === 'left') && (
        <>
          <path
            class={item.kind === 'left' ? 'rail-branch rail-left' : 'rail-branch'}
            d={`M${main} ${2 * y}C${main} ${y + 4} ${main + 6} ${y} ${main + stubPx - 4} ${y}`}
          />
          <circle class={item.kind === 'left' ? 'rail-ring rail-left' : 'rail-ring'} cx={main + stubPx} cy={y} r="4" />
        </>
      )}
      {item.kind === 'checkpoint' && <Mark x={main} y={y} />}
      {marked && <Mark x={main} y={beforePx} />}
      {isRelease && (
        <g class={`tone-${tone}`}>
          {item.release.live && <circle class="rail-halo" cx={main} cy={y} r="9" />}
          <circle
            class={item.release.state === 'rolling-out' ? 'rail-dot rail-dot-busy' : 'rail-dot'}
            cx={main}
            cy={y}
            r="5"
          />
        </g>
      )}
    </svg>
  )
}

function arcClass(withData: boolean): string {
  return withData ? 'rail-arc' : 'rail-arc rail-arc-code'
}

function Mark({ x, y }: { readonly x: number; readonly y: number }): JSX.Element {
  return <rect class="rail-mark" x={x - 3.5} y={y - 3.5} width="7" height="7" transform={`rotate(45 ${x} ${y})`} />
}
