/** Everything of one part: its instances, what it uses and is used by, how it was, and what can be done to it. */
import type { JSX } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import type { AppState, Sample } from '../wire.ts'
import { BreakButtons, PartButtons } from './actions.tsx'
import { CountedFacts, CountedPlots } from './counted.tsx'
import { useMedia } from './hooks.ts'
import { Icon, iconOf } from './icons.tsx'
import { canLook, Debuggers, Looks } from './looks.tsx'
import { kindWord, type PartView } from './parts.ts'
import { Plot } from './plot.tsx'
import { QueueFacts } from './queue.tsx'
import { age, bytes, cores, phaseWord, share, toneOf, uptimeShare } from './words.ts'

export interface InspectorProps {
  readonly app: AppState
  readonly part: PartView
  readonly samples: readonly Sample[]
  readonly nowMs: number
  readonly offers: readonly string[]
  readonly onSelect: (part: string | null) => void
  readonly onLogs: (part: string) => void
  /** The instance that somebody wants to look into; null: no one. */
  readonly wanted: string | null
}

const dayMs = 86_400_000

export function Inspector({
  app,
  part,
  samples,
  nowMs,
  offers,
  onSelect,
  onLogs,
  wanted,
}: InspectorProps): JSX.Element {
  const box = useRef<HTMLElement>(null)
  const { shape, instances, uptime, usedBy } = part
  // Where it stands below the graph it may be out of sight.
  const below = useMedia('(max-width: 1060px)')
  useEffect(() => {
    if (below) box.current?.scrollIntoView({ block: 'nearest' })
  }, [shape.name])
  const memory = samples.some(({ memoryBytes }) => shape.name in memoryBytes)
  const cpu = samples.some(({ cpuCores }) => shape.name in cpuCores)
  return (
    <section class="card inspector" ref={box} aria-label={`The part ${shape.name}`}>
      <header class="inspector-head">
        <span class={`node-icon tone-${part.tone}`}>
          <Icon name={iconOf(shape)} />
        </span>
        <div>
          <h2>{shape.name}</h2>
          <p class="quiet">{shape.schedule === null ? kindWord(shape) : `job, "${shape.schedule}" UTC`}</p>
        </div>
        <button type="button" class="button button-bare" aria-label="Close" onClick={() => onSelect(null)}>
          <Icon name="close" />
        </button>
      </header>
      <dl class="facts">
        <div>
          <dt>State</dt>
          <dd class={`tone-${part.tone}`}>
            <i class="dot" />
            {part.state}
          </dd>
        </div>
        {uptime !== null && (
          <div>
            <dt>Ready since it first was</dt>
            <dd class="number">{share(uptimeShare(uptime, nowMs))}</dd>
          </div>
        )}
        <QueueFacts part={part} />
        <CountedFacts part={part} />
        {shape.uses.length > 0 && <Names words="Uses" names={shape.uses} onSelect={onSelect} />}
        {usedBy.length > 0 && <Names words="Used by" names={usedBy} onSelect={onSelect} />}
      </dl>
      {instances
        .filter(({ reason }) => reason !== null)
        .map((instance) => (
          <p key={instance.instance} class={`reason tone-${toneOf(instance)}`}>
            <strong>{phaseWord(instance)}</strong>
            {` ${instance.reason}`}
          </p>
        ))}
      {!canLook(offers) && instances.map((one) => <Debuggers key={one.instance} instance={one} nowMs={nowMs} />)}
      {instances
        .filter(({ lastEnd }) => lastEnd !== undefined && nowMs - lastEnd.timeMs < dayMs)
        .map(({ instance, lastEnd }) => (
          <p key={`end-${instance}`} class="reason">
            <strong>Ended by itself</strong>
            {` ${age(nowMs - (lastEnd?.timeMs ?? nowMs))} ago: ${lastEnd?.sentence}. `}
            <code>{`stead why ${shape.name}`}</code>
          </p>
        ))}
      <CountedPlots part={part} samples={samples} />
      {memory && (
        <Plot
          title="Memory"
          samples={samples}
          lines={[{ name: 'memory', tone: 'accent', value: (sample) => sample.memoryBytes[shape.name] ?? null }]}
          format={bytes}
          topMin={16_000_000}
        />
      )}
      {cpu && (
        <Plot
          title="Processor"
          samples={samples}
          lines={[{ name: 'of one core', tone: 'accent', value: (sample) => sample.cpuCores[shape.name] ?? null }]}
          format={cores}
          topMin={0.05}
        />
      )}
      <div class="buttons">
        {offers.includes('GET /v1/apps/:app/logs') && shape.type !== 'secret' && (
          <button type="button" class="button" onClick={() => onLogs(shape.name)}>
            Show its output
          </button>
        )}
      </div>
      <Looks key={`look-${shape.name}`} app={app} part={shape} offers={offers} nowMs={nowMs} wanted={wanted} />
      <PartButtons key={`do-${shape.name}`} app={app} part={shape} offers={offers} />
      <BreakButtons key={`break-${shape.name}`} app={app} part={shape} offers={offers} />
      {instances.length > 0 && instances[0]?.sinceMs !== null && (
        <p class="quiet small">{`In this state for ${age(nowMs - Math.max(...instances.map(({ sinceMs }) => sinceMs ?? 0)))}.`}</p>
      )}
    </section>
  )
}

interface NamesProps {
  readonly words: string
  readonly names: readonly string[]
  readonly onSelect: (part: string) => void
}

function Names({ words, names, onSelect }: NamesProps): JSX.Element {
  return (
    <div>
      <dt>{words}</dt>
      <dd class="names">
        {names.map((name) => (
          <button key={name} type="button" class="link" onClick={() => onSelect(name)}>
            {name}
          </button>
        ))}
      </dd>
    </div>
  )
}
