/**
 * A line over the last minutes, drawn by uPlot, which is loaded when the first plot is shown. The newest values stand beside
 * the title, so that nobody has to read them off the lines.
 */
import 'uplot/dist/uPlot.min.css'
import type { JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type uPlot from 'uplot'
import type { Sample } from '../wire.ts'
import { useMedia, useSize } from './hooks.ts'

export interface PlotLine {
  readonly name: string
  readonly tone: 'accent' | 'good' | 'bad'
  readonly value: (sample: Sample) => number | null
}

export interface PlotProps {
  readonly title: string
  readonly samples: readonly Sample[]
  readonly lines: readonly PlotLine[]
  readonly format: (value: number) => string
  /** The least that the top of the scale stands for, so that next to nothing looks like it. */
  readonly topMin: number
}

const heightPx = 92
/** The time axis is never shorter. */
const leastSpanS = 180

export function Plot({ title, samples, lines, format, topMin }: PlotProps): JSX.Element {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const [library, setLibrary] = useState<typeof uPlot | null>(null)
  const dark = useMedia('(prefers-color-scheme: dark)')
  const size = useSize(box)
  const width = size?.width ?? 0
  useEffect(() => {
    let gone = false
    void import('uplot').then(({ default: loaded }) => {
      if (!gone) setLibrary(() => loaded)
    })
    return () => {
      gone = true
    }
  }, [])
  useEffect(() => {
    const element = box.current
    if (library === null || element === null || width === 0) return
    plot.current = new library(optionsOf(width, lines, format, topMin), dataOf(samples, lines), element)
    return () => {
      plot.current?.destroy()
      plot.current = null
    }
    // The data is brought up to date below.
  }, [library, width, dark, title])
  useEffect(() => plot.current?.setData(dataOf(samples, lines)), [samples, title])
  const newest = samples.at(-1)
  // With one line there is no question which it is.
  const several = lines.length > 1
  return (
    <figure class="plot">
      <figcaption>
        <span>{title}</span>
        {lines.map(({ name, tone, value }) => {
          const now = newest === undefined ? null : value(newest)
          return (
            <span key={name} class={tone === 'bad' && now !== null && now > 0 ? 'plot-now plot-bad' : 'plot-now'}>
              {several && <i class="plot-key" style={{ background: `var(--${tone})` }} />}
              <strong class="number">{now === null ? '—' : format(now)}</strong> {name}
            </span>
          )
        })}
      </figcaption>
      <div ref={box} class="plot-box" style={{ height: `${heightPx}px` }} aria-hidden="true" />
    </figure>
  )
}

function dataOf(samples: readonly Sample[], lines: readonly PlotLine[]): uPlot.AlignedData {
  return [samples.map(({ atMs }) => atMs / 1000), ...lines.map(({ value }) => samples.map(value))]
}

function optionsOf(
  width: number,
  lines: readonly PlotLine[],
  format: (value: number) => string,
  topMin: number,
): uPlot.Options {
  const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim()
  const axis = { stroke: colour('--ink-3'), font: '11px Inter Variable, sans-serif', ticks: { show: false } } as const
  const grid = { stroke: colour('--line'), width: 1 }
  return {
    width,
    height: heightPx,
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 4, 0, 0],
    scales: {
      x: { time: true, range: (_, first, last) => [Math.min(first, last - leastSpanS), last] },
      y: { range: (_, _least, most) => [0, Math.max(topMin, most * 1.15)] },
    },
    axes: [
      { ...axis, grid: { show: false }, size: 20, space: 56, incrs: [60, 120, 300], values: '{HH}:{mm}' },
      { ...axis, grid, size: 54, space: 32, values: (_, values) => values.map((value) => format(value)) },
    ],
    series: [
      {},
      ...lines.map(({ tone }) => ({
        stroke: colour(`--${tone}`),
        fill: colour(`--${tone}-wash`),
        width: 1.5,
        points: { show: false },
      })),
    ],
  }
}
