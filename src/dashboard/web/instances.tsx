/** Every instance in a table: how it is, since when, what it uses, and why it does not run. On a phone each row is a card. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { AppState, Sample } from '../wire.ts'
import { Icon, iconOf } from './icons.tsx'
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
}

export function Instances({ app, parts, newest, nowMs, selected, onSelect }: InstancesProps): JSX.Element {
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
              <th scope="col">Address</th>
            </tr>
          </thead>
          <tbody>
            {shown.flatMap(({ shape, instances, uptime }) =>
              instances.map((instance) => {
                const tone = toneOf(instance)
                const url = urlOf(shape.name)
                const cpu = newest?.cpuCores[shape.name]
                return (
                  <tr key={instance.instance ?? shape.name} class={selected === shape.name ? 'row-selected' : ''}>
                    <th scope="row" data-label="Part">
                      <div class="row-head">
                        <button type="button" class="link row-name" onClick={() => onSelect(shape.name)}>
                          <Icon name={iconOf(shape)} size={16} />
                          {shape.name}
                        </button>
                        <span class="quiet small">{kindWord(shape)}</span>
                      </div>
                    </th>
                    <td data-label="State">
                      <span class={`state tone-${tone}`}>
                        <i class="dot" />
                        {phaseWord(instance.phase)}
                      </span>
                      {instance.reason !== null && <span class="why">{instance.reason.split('\n')[0]}</span>}
                    </td>
                    <td class="right number" data-label="Since">
                      {instance.sinceMs === null ? '' : age(nowMs - instance.sinceMs)}
                    </td>
                    <td class="right number" data-label="Restarts">
                      {instance.restarts === 0 ? <span class="quiet">0</span> : instance.restarts}
                    </td>
                    <td class="right number" data-label="Memory">
                      {instance.memoryBytes === null ? '' : bytes(instance.memoryBytes)}
                    </td>
                    <td class="right number" data-label="Processor">
                      {cpu === undefined || instance.cpuSeconds === null
                        ? ''
                        : cores(cpu / Math.max(1, instances.length))}
                    </td>
                    <td class="right number" data-label="Uptime">
                      {uptime === null ? '' : share(uptimeShare(uptime, nowMs))}
                    </td>
                    <td data-label="Address">
                      {url !== null && (
                        <a href={url} target="_blank" rel="noopener noreferrer">
                          {url.replace(/^https?:\/\//, '')}
                        </a>
                      )}
                    </td>
                  </tr>
                )
              }),
            )}
          </tbody>
        </table>
      </div>
    </section>
  )
}
