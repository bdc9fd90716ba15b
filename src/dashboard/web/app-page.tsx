/** One app: figures, graph, instances, output. */
import type { JSX } from 'preact'
import { useCallback, useEffect, useMemo, useState } from 'preact/hooks'
import type { AppState } from '../wire.ts'
import type { Checkup } from '../../operator/index.ts'
import { canBreak } from './actions.tsx'
import { Check, useCheckup } from './check.tsx'
import { Broken, BrokenBefore } from './faults.tsx'
import { Graph } from './graph.tsx'
import { Headline } from './headline.tsx'
import { Inspector } from './inspector.tsx'
import { Instances } from './instances.tsx'
import type { View } from './line.ts'
import { Logs } from './logs.tsx'
import { canLook } from './looks.tsx'
import { leastUptime, partViews } from './parts.ts'
import { Plot } from './plot.tsx'
import { age, bytes, milliseconds, rate, share } from './words.ts'

export interface AppPageProps {
  readonly view: View
  readonly app: AppState
  readonly nowMs: number
  readonly selected: string | null
  readonly onSelect: (part: string | null) => void
}

export function AppPage({ view, app, nowMs, selected, onSelect }: AppPageProps): JSX.Element {
  const [logsOf, setLogsOf] = useState<string | null>(null)
  const [debugged, setDebugged] = useState<string | null>(null)
  const offers = view.hello?.offers ?? []
  const parts = useMemo(() => partViews(app), [app])
  const checkup = useCheckup(view, app.head.app, app.head.release)
  const alone = useMemo(() => new Set(checkup?.singlePointsOfFailure), [checkup])
  const part = parts.find(({ shape }) => shape.name === selected)
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      const free = document.querySelector('dialog[open]') === null && !(event.target instanceof HTMLInputElement)
      if (event.key === 'Escape' && free) onSelect(null)
    }
    document.addEventListener('keydown', onKey)
    return () => document.removeEventListener('keydown', onKey)
  }, [onSelect])
  const debug = useCallback(
    (name: string, instance: string | null): void => {
      setDebugged(instance)
      onSelect(name)
    },
    [onSelect],
  )
  const showLogs = (name: string): void => {
    setLogsOf(name)
    document.getElementById('logs')?.scrollIntoView({ block: 'start' })
  }
  return (
    <main class="page">
      <div>
        <Headline app={app} offers={offers} page="app" />
        <Broken app={app} nowMs={nowMs} mayHeal={canBreak(offers)} />
      </div>
      <Figures view={view} app={app} checkup={checkup} nowMs={nowMs} />
      <div class={part === undefined ? 'stage' : 'stage stage-two'}>
        <div class="stage-main">
          <section class="card card-graph" aria-label="Graph">
            <Graph app={app} parts={parts} alone={alone} nowMs={nowMs} selected={selected} onSelect={onSelect} />
            {part === undefined && (
              <p class="quiet small graph-foot">
                {alone.size > 0 && (
                  <span class="graph-key">
                    <i class="single" aria-hidden="true" />a single point of failure
                  </span>
                )}
                {canBreak(offers)
                  ? 'Choose a part to look inside it, or to break it.'
                  : 'Choose a part to look inside it.'}
              </p>
            )}
          </section>
          <BrokenBefore app={app} nowMs={nowMs} />
          <Traffic view={view} />
          <Instances
            app={app}
            parts={parts}
            newest={view.samples.at(-1)}
            nowMs={nowMs}
            selected={selected}
            onSelect={onSelect}
            onDebug={canLook(offers) ? debug : null}
          />
          {checkup !== null && <Check checkup={checkup} onSelect={onSelect} />}
        </div>
        {part !== undefined && (
          <Inspector
            app={app}
            part={part}
            samples={view.samples}
            nowMs={nowMs}
            offers={offers}
            onSelect={(name) => {
              setDebugged(null)
              onSelect(name)
            }}
            onLogs={showLogs}
            wanted={debugged}
          />
        )}
      </div>
      {offers.includes('GET /v1/apps/:app/logs') && (
        <Logs app={app.head.app} parts={app.shape.parts} part={logsOf} onPart={setLogsOf} />
      )}
      <Weaker view={view} />
    </main>
  )
}

function Figures({
  view,
  app,
  checkup,
  nowMs,
}: {
  readonly view: View
  readonly app: AppState
  readonly checkup: Checkup | null
  readonly nowMs: number
}): JSX.Element {
  const least = leastUptime(app, nowMs)
  const memory = Object.values(app.parts).reduce((sum, { memoryBytes }) => sum + (memoryBytes ?? 0), 0)
  const outside = Object.values(app.traffic).filter(({ from }) => from === null)
  const requests = outside.reduce((sum, edge) => sum + edge.requestsPerSecond, 0)
  const errors = outside.reduce((sum, edge) => sum + edge.errorsPerSecond, 0)
  const slowest = Math.max(...outside.map(({ p99Ms }) => p99Ms ?? 0))
  const quick = slowest > 0 ? `, 99 % within ${milliseconds(slowest)}` : ''
  const restarts = Object.values(app.parts).reduce((sum, part) => sum + part.restarts, 0)
  const counted = Object.keys(app.traffic).length > 0
  return (
    <dl class="figures">
      <Figure
        name="Uptime"
        value={least === null ? '—' : share(least)}
        more="of its weakest part, since the platform started"
      />
      {checkup !== null && checkup.availability !== null && (
        <Figure
          name="Expected uptime"
          value={share(checkup.availability)}
          more={`by its design: down ${age((checkup.downtimeSecondsPerYear ?? 0) * 1000)} a year`}
        />
      )}
      {counted && (
        <Figure
          name="Requests"
          value={`${rate(requests)}/s`}
          more={`${rate(errors)}/s fail${quick}`}
          bad={errors > 0}
        />
      )}
      <Figure name="Memory" value={memory === 0 ? '—' : bytes(memory)} more="of all parts together" />
      <Figure name="Restarts" value={String(restarts)} more="of what runs now" />
      <Figure name="Release" value={String(app.head.release)} more={modeWords(view)} />
    </dl>
  )
}

interface FigureProps {
  readonly name: string
  readonly value: string
  readonly more: string
  readonly bad?: boolean
}

function Figure({ name, value, more, bad = false }: FigureProps): JSX.Element {
  return (
    <div class={bad ? 'figure figure-bad' : 'figure'}>
      <dt>{name}</dt>
      <dd>
        <strong class="number">{value}</strong>
        <span>{more}</span>
      </dd>
    </div>
  )
}

function modeWords({ hello }: View): string {
  return hello?.platform.mode === 'up' ? 'follows the files of its directory' : 'as it was deployed'
}

function Traffic({ view }: { readonly view: View }): JSX.Element | null {
  if (!view.samples.some(({ requestsPerSecond }) => requestsPerSecond !== null)) return null
  return (
    <section class="card" aria-label="Requests">
      <Plot
        title="Requests from outside"
        samples={view.samples}
        lines={[
          { name: 'per second', tone: 'accent', value: (sample) => sample.requestsPerSecond },
          { name: 'of them fail', tone: 'bad', value: (sample) => sample.errorsPerSecond },
        ]}
        format={rate}
        topMin={1}
      />
    </section>
  )
}

function Weaker({ view: { hello } }: { readonly view: View }): JSX.Element | null {
  if (hello === null) return null
  const { weaker, drivers, version } = hello.platform
  return (
    <footer class="foot">
      {weaker.map((line) => (
        <p key={line}>
          <strong>Weaker here:</strong> {line}
        </p>
      ))}
      <p>{`stead ${version} · sandbox ${drivers.sandbox} · network ${drivers.network} · data ${drivers.domain}`}</p>
    </footer>
  )
}
