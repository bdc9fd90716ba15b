/**
 * What the parts print, as it comes. Only the lines in sight are in the document. Invariants: a line that breaks is opened
 * again by itself, and says so; lines are taken in once a frame, however many come.
 */
import type { JSX } from 'preact'
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { LogLine } from '../../protocol/index.ts'
import type { ShapePart } from '../wire.ts'
import { Icon } from './icons.tsx'
import { pause, visible } from './line.ts'
import { added, type LogLines, matching, noLines, resumed } from './log-lines.ts'
import { ask, linesOf, Refusal } from './session.ts'
import { counted } from './words.ts'

const rowPx = 21
const beyond = 12
const tailLines = 200
const retryMs = 2000
/** When less than this is below, the newest line is followed. */
const followPx = 2 * rowPx

export interface LogsProps {
  readonly app: string
  readonly parts: readonly ShapePart[]
  /** The part whose output is shown; null for all. */
  readonly part: string | null
  readonly onPart: (part: string | null) => void
}

export function Logs({ app, parts, part, onPart }: LogsProps): JSX.Element {
  const [lines, setLines] = useState<LogLines>(noLines)
  const [words, setWords] = useState('')
  const [paused, setPaused] = useState(false)
  const [trouble, setTrouble] = useState<string | null>(null)
  const pausedNow = useRef(paused)
  pausedNow.current = paused
  useEffect(() => {
    setLines(noLines)
    setTrouble(null)
    const take = (fresh: readonly LogLine[]): void => setLines((held) => added(held, fresh, pausedNow.current))
    return follow(app, part, take, setTrouble, () => setLines(noLines))
  }, [app, part])
  const shown = useMemo(() => matching(lines.shown, words), [lines.shown, words])
  const togglePause = (): void => {
    if (paused) setLines(resumed)
    setPaused(!paused)
  }
  const producers = parts.filter(({ type }) => type !== 'secret')
  return (
    <section class="card logs" id="logs" aria-labelledby="logs-title">
      <header class="logs-head">
        <h2 id="logs-title">Output</h2>
        <label class="field">
          <span class="hidden">Part</span>
          <select value={part ?? ''} onChange={(event) => onPart(event.currentTarget.value || null)}>
            <option value="">All parts</option>
            {producers.map(({ name }) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <label class="field field-grow">
          <span class="hidden">Only lines that contain</span>
          <input
            type="search"
            placeholder="Only lines that contain …"
            value={words}
            onInput={(event) => setWords(event.currentTarget.value)}
          />
        </label>
        <button type="button" class="button" aria-pressed={paused} onClick={togglePause}>
          <Icon name={paused ? 'start' : 'pause'} size={16} />
          {paused ? `Go on${lines.waiting.length > 0 ? ` (${lines.waiting.length} new)` : ''}` : 'Pause'}
        </button>
      </header>
      <Rows lines={shown} several={part === null} />
      <p class="quiet small logs-foot" role="status">
        {trouble ?? footOf(shown.length, lines.shown.length, words)}
      </p>
    </section>
  )
}

function footOf(shown: number, held: number, words: string): string {
  if (held === 0) return 'Nothing was printed yet. What comes appears here by itself.'
  if (words.trim() !== '') return `${counted(shown, 'line')} of ${held} fit.`
  return `${counted(held, 'line')}. The newest stay in sight while you are at the end.`
}

function Rows({ lines, several }: { readonly lines: LogLines['shown']; readonly several: boolean }): JSX.Element {
  const box = useRef<HTMLDivElement>(null)
  const atEnd = useRef(true)
  const [view, setView] = useState({ top: 0, height: 320 })
  const look = (): void => {
    const element = box.current
    if (element === null) return
    atEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < followPx
    setView({ top: element.scrollTop, height: element.clientHeight })
  }
  useLayoutEffect(() => {
    const element = box.current
    if (element !== null && atEnd.current) element.scrollTop = element.scrollHeight
    look()
  }, [lines])
  const first = Math.max(0, Math.floor(view.top / rowPx) - beyond)
  const last = Math.ceil((view.top + view.height) / rowPx) + beyond
  return (
    <div class="rows" ref={box} onScroll={look} tabIndex={0} role="log" aria-label="Output" aria-live="off">
      <div class="rows-room" style={{ height: `${lines.length * rowPx}px` }}>
        {lines.slice(first, last).map(({ id, timeMs, part, text }, index) => (
          <div key={id} class="row" style={{ transform: `translateY(${(first + index) * rowPx}px)` }}>
            <time>{new Date(timeMs).toTimeString().slice(0, 8)}</time>
            {several && <b>{part}</b>}
            <span>{text}</span>
          </div>
        ))}
      </div>
    </div>
  )
}

/** Follows the output until it is stopped; lines are handed on once a frame. */
function follow(
  app: string,
  part: string | null,
  onLines: (lines: readonly LogLine[]) => void,
  onTrouble: (words: string | null) => void,
  onAnew: () => void,
): () => void {
  const stop = new AbortController()
  const fresh: LogLine[] = []
  let asked = false
  const hand = (): void => {
    asked = false
    if (fresh.length > 0) onLines(fresh.splice(0))
  }
  const run = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      await visible(stop.signal)
      try {
        const query = new URLSearchParams({
          follow: 'true',
          tail: String(tailLines),
          ...(part === null ? {} : { part }),
        })
        const path = `/api/v1/apps/${encodeURIComponent(app)}/logs?${query.toString()}`
        const answer = await ask('GET', path, undefined, stop.signal)
        onAnew()
        onTrouble(null)
        for await (const line of linesOf(answer)) {
          fresh.push(line as LogLine)
          if (!asked) requestAnimationFrame(hand)
          asked = true
        }
      } catch (error) {
        if (stop.signal.aborted) return
        onTrouble(
          error instanceof Refusal
            ? `The output cannot be shown: ${error.message}.`
            : 'The line is lost; it is opened again by itself.',
        )
      }
      await pause(retryMs, stop.signal)
    }
  }
  void run()
  return () => stop.abort()
}
