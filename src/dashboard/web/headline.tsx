/** What stands above every page of an app: how it is, where it is reached, and which pages there are. */
import type { JSX } from 'preact'
import type { AppState } from '../wire.ts'
import { stateOfApp } from './parts.ts'
import { counted, type Tone } from './words.ts'

/** How the app is, in a sentence. */
function sentenceOf(app: AppState): { readonly words: string; readonly tone: Tone } {
  const { unwell, coming } = stateOfApp(app)
  const all = app.shape.parts.length
  const names = (parts: readonly string[]): string => `${parts.slice(0, 4).join(', ')}${parts.length > 4 ? ' …' : ''}`
  const verb = (parts: readonly string[]): string => (parts.length === 1 ? 'is' : 'are')
  const share = (parts: readonly string[]): string => `${parts.length} of ${counted(all, 'part')} ${verb(parts)}`
  if (!app.head.wanted) return { words: 'It is down. Its data stays.', tone: 'idle' }
  if (unwell.length > 0) return { words: `${share(unwell)} not well: ${names(unwell)}`, tone: 'bad' }
  if (coming.length > 0) return { words: `${share(coming)} on the way: ${names(coming)}`, tone: 'busy' }
  return { words: all === 1 ? 'Its part is well.' : `All ${all} parts are well.`, tone: 'good' }
}

export type PageName = 'app' | 'releases'

export interface HeadlineProps {
  readonly app: AppState
  readonly offers: readonly string[]
  /** Which of the app's pages this is. */
  readonly page: PageName
}

export function Headline({ app, offers, page }: HeadlineProps): JSX.Element {
  const { words, tone } = sentenceOf(app)
  return (
    <>
      <div class="headline">
        <div>
          <h1>{app.head.app}</h1>
          <p role="status" class={`headline-words tone-${tone}`}>
            <i class="dot" />
            {words}
          </p>
          {app.head.backup !== undefined && <BackupWords backup={app.head.backup} />}
        </div>
        <ul class="urls">
          {app.head.urls.slice(0, 4).map((url) => (
            <li key={url}>
              <a href={url} target="_blank" rel="noopener noreferrer">
                {url.replace(/^https?:\/\//, '')}
              </a>
            </li>
          ))}
        </ul>
      </div>
      {offers.includes('GET /v1/apps/:app/releases') && <Tabs app={app.head.app} page={page} />}
    </>
  )
}

/** How old the newest backup and its proof are; a failure in its own words. */
function BackupWords({ backup }: { readonly backup: NonNullable<AppState['head']['backup']> }): JSX.Element {
  const { sentence, state, overdue, doing, troubles, place } = backup
  const bad = state === 'failed' || troubles.length > 0
  const tone: Tone = bad ? 'bad' : state === 'proved' && !overdue ? 'good' : 'busy'
  return (
    <p class={`headline-words tone-${tone}`} title={`Backups to ${place}`}>
      <i class="dot" />
      {troubles[0] ?? `Backups: ${sentence}${doing === null ? '' : ` (${doing} under way)`}`}
    </p>
  )
}

function Tabs({ app, page }: { readonly app: string; readonly page: PageName }): JSX.Element {
  const here = `#/${encodeURIComponent(app)}`
  return (
    <nav class="tabs" aria-label="Pages of the app">
      <a href={here} aria-current={page === 'app' ? 'page' : undefined}>
        Now
      </a>
      <a href={`${here}/-/releases`} aria-current={page === 'releases' ? 'page' : undefined}>
        Releases
      </a>
    </nav>
  )
}
