/**
 * What a resource counts about itself, shown where its part is looked at: how much it holds, and how fast it is used. What is
 * shown of a type is a table; a type that is not in it, or says nothing, has nothing here.
 */
import type { JSX } from 'preact'
import type { Sample } from '../wire.ts'
import type { PartView } from './parts.ts'
import { Plot, type PlotLine } from './plot.tsx'
import { bytes, rate } from './words.ts'

type Format = (value: number) => string

interface Shown {
  /** Gauges: words, metric, how it is written. */
  readonly facts: readonly (readonly [words: string, metric: string, format: Format])[]
  /** Metrics that are drawn together: counters a second each. */
  readonly plots: readonly {
    readonly title: string
    readonly lines: readonly (readonly [words: string, metrics: readonly string[], tone: PlotLine['tone']])[]
    readonly format: Format
    readonly topMin: number
  }[]
}

const whole: Format = (value) => value.toLocaleString('en')

/** `7`, `1.3 k`, `2.1 M`. */
const rounded: Format = (value) => {
  if (value < 1000) return String(Math.round(value))
  return value < 1_000_000 ? `${(value / 1000).toFixed(1)} k` : `${(value / 1_000_000).toFixed(1)} M`
}

const shownOf: Readonly<Record<string, Shown>> = {
  queue: {
    // They stand in words: `QueueFacts`.
    facts: [],
    plots: [
      {
        title: 'In the queue',
        lines: [
          ['waiting', ['queue_ready', 'queue_delayed'], 'accent'],
          ['dead', ['queue_dead'], 'bad'],
        ],
        format: rounded,
        topMin: 5,
      },
      {
        title: 'Messages per second',
        lines: [
          ['sent', ['queue_sent_total'], 'accent'],
          ['done', ['queue_acked_total'], 'good'],
        ],
        format: rate,
        topMin: 1,
      },
    ],
  },
  bucket: {
    facts: [
      ['Objects', 'bucket_objects', whole],
      ['Versions kept', 'bucket_versions', whole],
      ['Bytes', 'bucket_size_bytes', bytes],
    ],
    plots: [
      {
        title: 'Requests per second',
        lines: [
          ['read', ['bucket_reads_total'], 'accent'],
          ['written', ['bucket_writes_total'], 'good'],
          ['refused or failed', ['bucket_refused_total', 'bucket_failures_total'], 'bad'],
        ],
        format: rate,
        topMin: 1,
      },
      {
        title: 'Bytes per second',
        lines: [
          ['fetched', ['bucket_sent_bytes_total'], 'accent'],
          ['sent in', ['bucket_received_bytes_total'], 'good'],
        ],
        format: bytes,
        topMin: 10_000,
      },
    ],
  },
}

/** The rows of facts. */
export function CountedFacts({ part }: { readonly part: PartView }): JSX.Element | null {
  const metrics = part.instances[0]?.metrics
  const shown = shownOf[part.shape.type ?? '']
  if (metrics === undefined || shown === undefined) return null
  return (
    <>
      {shown.facts.map(([words, metric, format]) => (
        <div key={metric}>
          <dt>{words}</dt>
          <dd class="number">{format(metrics[metric] ?? 0)}</dd>
        </div>
      ))}
    </>
  )
}

/** The plots. */
export function CountedPlots({
  part,
  samples,
}: {
  readonly part: PartView
  readonly samples: readonly Sample[]
}): JSX.Element | null {
  const { name, type } = part.shape
  const shown = shownOf[type ?? '']
  if (shown === undefined || !samples.some(({ counted }) => counted?.[name] !== undefined)) return null
  return (
    <>
      {shown.plots.map(({ title, lines, format, topMin }) => (
        <Plot
          key={title}
          title={title}
          samples={samples}
          lines={lines.map(([words, metrics, tone]) => ({
            name: words,
            tone,
            value: ({ counted }) => sumOf(counted?.[name], metrics),
          }))}
          format={format}
          topMin={topMin}
        />
      ))}
    </>
  )
}

/** Null where one of them is not known. */
function sumOf(rates: Readonly<Record<string, number>> | undefined, metrics: readonly string[]): number | null {
  return metrics.reduce<number | null>((sum, metric) => {
    const value = rates?.[metric]
    return sum === null || value === undefined ? null : sum + value
  }, 0)
}
