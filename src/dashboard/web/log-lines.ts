/**
 * The lines that the log pane holds, pure. Invariants: in the order of time; never more than `linesMax`, the oldest go
 * first; what comes while it is paused waits, under the same limit, and is counted.
 */
import type { LogLine } from '../../protocol/index.ts'

export const linesMax = 5000

export interface ShownLine {
  readonly id: number
  readonly timeMs: number
  readonly part: string
  readonly text: string
}

export interface LogLines {
  readonly shown: readonly ShownLine[]
  readonly waiting: readonly ShownLine[]
  readonly nextId: number
}

export const noLines: LogLines = { shown: [], waiting: [], nextId: 0 }

/** The escape character is what makes a colour sequence. */
// oxlint-disable-next-line no-control-regex
const colours = /\u001b\[[0-9;]*[A-Za-z]/g

export function added(lines: LogLines, fresh: readonly LogLine[], paused: boolean): LogLines {
  const next = fresh.map(({ assignment, timeMs, text }, index) => ({
    id: lines.nextId + index,
    timeMs,
    part: assignment.split('.')[1] ?? assignment,
    text: text.replace(colours, ''),
  }))
  const nextId = lines.nextId + fresh.length
  return paused
    ? { ...lines, waiting: ordered([...lines.waiting, ...next]), nextId }
    : { shown: ordered([...lines.shown, ...next]), waiting: lines.waiting, nextId }
}

/** What waited is shown. */
export function resumed(lines: LogLines): LogLines {
  return { shown: ordered([...lines.shown, ...lines.waiting]), waiting: [], nextId: lines.nextId }
}

/** Lines that hold the words, whatever their case. */
export function matching(lines: readonly ShownLine[], words: string): readonly ShownLine[] {
  const wanted = words.trim().toLowerCase()
  if (wanted === '') return lines
  return lines.filter(({ text, part }) => text.toLowerCase().includes(wanted) || part === wanted)
}

function ordered(lines: readonly ShownLine[]): readonly ShownLine[] {
  const inOrder = lines.every((line, index) => index === 0 || (lines[index - 1]?.timeMs ?? 0) <= line.timeMs)
  return (inOrder ? lines : lines.toSorted((a, b) => a.timeMs - b.timeMs)).slice(-linesMax)
}
