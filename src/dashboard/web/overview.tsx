/** Every app of the platform, the ones that are not well first. */
import type { JSX } from 'preact'
import type { AppCard } from '../wire.ts'
import { counted } from './words.ts'

export function Overview({ apps }: { readonly apps: readonly AppCard[] }): JSX.Element {
  const bad = apps.filter(({ unwell }) => unwell.length > 0)
  const ordered = apps.toSorted(
    (a, b) =>
      Number(b.unwell.length > 0) - Number(a.unwell.length > 0) || Number(b.head.wanted) - Number(a.head.wanted),
  )
  const words =
    bad.length === 0 ? 'All is well.' : `${counted(bad.length, 'app')} ${bad.length === 1 ? 'is' : 'are'} not well.`
  return (
    <main class="page">
      <div class="headline">
        <div>
          <h1>{counted(apps.length, 'app')}</h1>
          <p role="status" class={`headline-words ${bad.length === 0 ? 'tone-good' : 'tone-bad'}`}>
            <i class="dot" />
            {apps.length === 0 ? 'No app runs here. Bring one with `stead deploy`.' : words}
          </p>
        </div>
      </div>
      <ul class="cards">
        {ordered.map(({ head, parts, unwell }) => (
          <li key={head.app}>
            <a class="card app-card" href={`#/${encodeURIComponent(head.app)}`}>
              <h2>{head.app}</h2>
              <p class={head.wanted ? (unwell.length === 0 ? 'tone-good' : 'tone-bad') : 'tone-idle'}>
                <i class="dot" />
                {!head.wanted
                  ? 'down'
                  : unwell.length === 0
                    ? 'well'
                    : `not well: ${unwell.slice(0, 3).join(', ')}${unwell.length > 3 ? ' …' : ''}`}
              </p>
              <p class="quiet small">{`${counted(parts, 'part')} · release ${head.release}`}</p>
              <p class="quiet small app-url">
                {head.urls[0]?.replace(/^https?:\/\//, '') ?? 'not open to the outside'}
              </p>
            </a>
          </li>
        ))}
      </ul>
    </main>
  )
}
