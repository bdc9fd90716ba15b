/** Every instance in a table: how it is, since when, what it uses, and why it does not run. On a phone each row is a card. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { PartStatus } from '../../operator/index.ts'
import type { AppState, Sample } from '../wire.ts'
import { Icon, iconOf, type IconName } from './icons.tsx'
import { memo } from './memo.ts'
import { kindWord, type PartView } from './parts.ts'
import { age, bytes, cores, phaseWord, share, toneOf, uptimeShare } from './words.ts'

/** With more parts than this, those that are not well can be shown alone. */
const fewMax = 12

export interface InstancesProps {
  readonly app: AppState
  readonly parts: readonly PartView[]
  readonly newest: Sample | undefined
  readonly nowMs: number
  readonly selected: string | null
  readonly onSelect: (part: string) => void
  /** Looks into an instance; null: this session may not. */
  readonly onDebug: ((part: string, instance: string | null) => void) | null
}

export function Instances({ app, parts, newest, nowMs, selected, onSelect, onDebug }: InstancesProps): JSX.Element {
  const [onlyBad, setOnlyBad] = useState(false)
  const many = parts.length > fewMax
  const shown = many && onlyBad ? parts.filter(({ tone }) => tone === 'bad' || tone === 'busy') : parts
  const urls = new Map(app.shape.routes.map(({ host, path, part }) => [part, { host, path }]))
  const urlOf = (part: string): string | null => {
    const route = urls.get(part)
    if (route === undefined) return null
    return (
      app.head.urls.find((url) => url.startsWith(`http://${route.host}`) || url.startsWith(`https://${route.host}`)) ??
      null
    )
  }
  return (
    <section class="card" id="instances" aria-labelledby="instances-title">
      <header class="instances-head">
        <h2 id="instances-title">Instances</h2>
        {many && (
          <label class="check">
            <input type="checkbox" checked={onlyBad} onChange={() => setOnlyBad(!onlyBad)} />
            Only what is not well
          </label>
        )}
      </header>
      <div class={many ? 'table-room table-many' : 'table-room'} tabIndex={many ? 0 : undefined}>
        <table>
          <thead>
            <tr>
              <th scope="col">Part</th>
              <th scope="col">State</th>
              <th scope="col" class="right">
                Since
              </th>
              <th scope="col" class="right">
                Restarts
              </th>
              <th scope="col" class="right">
                Memory
              </th>
              <th scope="col" class="right">
                Processor
              </th>
              <th scope="col" class="right">
                Uptime
              </th>
              <th scope="col" class="roomy">
                Address
              </th>
              {onDebug !== null && (
                <th scope="col">
                  <span class="unseen">Debug</span>
                </th>
              )}
            </tr>
          </thead>
          <tbody>
            {shown.flatMap(({ shape, instances, uptime }) =>
              instances.map((instance) => {
                const cpu = newest?.cpuCores[shape.name]
                return (
                  <Row
                    key={instance.instance ?? shape.name}
                    instance={instance.instance}
                    part={shape.name}
                    kind={kindWord(shape)}
                    icon={iconOf(shape)}
                    tone={toneOf(instance)}
                    state={phaseWord(instance)}
                    reason={
                      instance.heldSinceMs === undefined
                        ? (instance.reason?.split('\n')[0] ?? null)
                        : heldWords(instance, nowMs)
                    }
                    since={instance.sinceMs === null ? '' : age(nowMs - instance.sinceMs)}
                    restarts={instance.restarts}
                    memory={instance.memoryBytes === null ? '' : bytes(instance.memoryBytes)}
                    processor={cpu === undefined || instance.cpuSeconds === null ? '' : cores(cpu / instances.length)}
                    uptime={uptime === null ? '' : share(uptimeShare(uptime, nowMs))}
                    url={urlOf(shape.name)}
                    selected={selected === shape.name}
                    onSelect={onSelect}
                    canDebug={onDebug !== null && instance.pid !== null && shape.type !== 'secret'}
                    onDebug={onDebug}
                  />
                )
              }),
            )}
          </tbody>
        </table>
      </div>
    </section>
  )
}

/** Whose debuggers are in it, and since when the first is. */
function heldWords({ heldSinceMs = 0, debuggers = [] }: PartStatus, nowMs: number): string {
  const whose = debuggers.length === 0 ? 'a debugger' : `the debugger of ${debuggers.map(({ by }) => by).join(', ')}`
  const stands = debuggers.some((one) => one.stands) ? ', and it stands' : ''
  return `${whose} is in it for ${age(nowMs - heldSinceMs)}${stands}`
}

interface RowProps {
  readonly instance: string | null
  readonly part: string
  readonly kind: string
  readonly icon: IconName
  readonly tone: string
  readonly state: string
  readonly reason: string | null
  readonly since: string
  readonly restarts: number
  readonly memory: string
  readonly processor: string
  readonly uptime: string
  readonly url: string | null
  readonly selected: boolean
  readonly onSelect: (part: string) => void
  readonly canDebug: boolean
  readonly onDebug: InstancesProps['onDebug']
}

const Row = memo(function Row(row: RowProps): JSX.Element {
  const { part, kind, icon, tone, state, reason, since, restarts, memory, processor, uptime, url } = row
  return (
    <tr class={row.selected ? 'row-selected' : ''}>
      <th scope="row" data-label="Part">
        <div class="row-head">
          <button type="button" class="link row-name" onClick={() => row.onSelect(part)}>
            <Icon name={icon} size={16} />
            {part}
          </button>
          <span class="quiet small">{kind}</span>
        </div>
      </th>
      <td data-label="State">
        <span class={`state tone-${tone}`}>
          <i class="dot" />
          {state}
        </span>
        {reason !== null && <span class="why">{reason}</span>}
      </td>
      <td class="right number" data-label="Since">
        {since}
      </td>
      <td class="right number" data-label="Restarts">
        {restarts === 0 ? <span class="quiet">0</span> : restarts}
      </td>
      <td class="right number" data-label="Memory">
        {memory}
      </td>
      <td class="right number" data-label="Processor">
        {processor}
      </td>
      <td class="right number" data-label="Uptime">
        {uptime}
      </td>
      <td class="roomy" data-label="Address">
        {url !== null && (
          <a href={url} target="_blank" rel="noopener noreferrer">
            {url.replace(/^https?:\/\//, '')}
          </a>
        )}
      </td>
      {row.onDebug !== null && (
        <td class="right">
          {row.canDebug && (
            <button
              type="button"
              class="button button-small"
              aria-label={`Debug ${row.instance ?? part}`}
              onClick={() => row.onDebug?.(part, row.instance)}
            >
              Debug
            </button>
          )}
        </td>
      )}
    </tr>
  )
})
