/** The page as a whole: who is let in, which app is shown, and whether the line to the platform is alive. */
import './styles/fonts.css'
import './styles/base.css'
import './styles/controls.css'
import './styles/graph.css'
import './styles/sections.css'
import './styles/looks.css'
import './styles/small.css'
import { type FunctionComponent, type JSX, render } from 'preact'
import { useCallback, useEffect, useState } from 'preact/hooks'
import { AppPage } from './app-page.tsx'
import type { PageName } from './headline.tsx'
import { useNow } from './hooks.ts'
import { Mark } from './icons.tsx'
import { nothing, openLine, type View } from './line.ts'
import { Overview } from './overview.tsx'
import type { ReleasesPageProps } from './releases-page.tsx'
import { hasKey, logInFromAddress, logOut } from './session.ts'

/**
 * `#/app`, `#/app/part`, `#/app/-/releases` or `#/app/-/releases/7`: no part is called `-`. Without an app the only one is
 * meant, where there is one.
 */
interface Place {
  readonly app: string | null
  readonly part: string | null
  readonly page: PageName
  readonly release: number | null
}

function placeNow(): Place {
  const [app = '', part = '', page = '', release = ''] = location.hash.replace(/^#\/?/, '').split('/').map(decoded)
  const elsewhere = part === '-' && page === 'releases'
  return {
    app: app === '' ? null : app,
    part: part === '' || elsewhere ? null : part,
    page: elsewhere ? 'releases' : 'app',
    release: elsewhere && /^\d+$/.test(release) ? Number(release) : null,
  }
}

function decoded(word: string): string {
  try {
    return decodeURIComponent(word)
  } catch {
    return word
  }
}

function go({ app, part = null, page = 'app', release = null }: Partial<Place>): void {
  const chosen = release === null ? '' : `/${release}`
  const rest = page === 'releases' ? `/-/releases${chosen}` : part === null ? '' : `/${encodeURIComponent(part)}`
  history.replaceState(null, '', `/#/${encodeURIComponent(app ?? '')}${rest}`)
  window.dispatchEvent(new HashChangeEvent('hashchange'))
}

function usePlace(): Place {
  const [place, setPlace] = useState(placeNow)
  useEffect(() => {
    const look = (): void => setPlace(placeNow())
    window.addEventListener('hashchange', look)
    return () => window.removeEventListener('hashchange', look)
  }, [])
  return place
}

function Page({ refused }: { readonly refused: string | null }): JSX.Element {
  const place = usePlace()
  const [view, setView] = useState<View>(nothing)
  const nowMs = useNow(view.offsetMs)
  const letIn = hasKey()
  const select = useCallback((part: string | null) => go({ app: place.app, part }), [place.app])
  const choose = useCallback((release: number | null) => go({ app: place.app, page: 'releases', release }), [place.app])
  // With one app on the platform, the overview is that app.
  const alone = place.app === null && view.apps?.length === 1
  const shown = place.app ?? (alone ? (view.apps?.[0]?.head.app ?? null) : null)
  useEffect(() => (letIn ? openLine(place.app, setView) : undefined), [place.app, letIn])
  useEffect(() => {
    document.title = shown === null ? 'Stead' : `${shown} · Stead`
  }, [shown])
  if (!letIn || view.line === 'logged-out') return <LoggedOut refused={refused} />
  return (
    <>
      <Bar view={view} app={shown} />
      {view.apps !== null && shown === null && <Overview apps={view.apps} />}
      {view.apps !== null && shown !== null && view.app === null && <NoApp view={view} app={shown} />}
      {shown !== null && view.app !== null && place.page === 'releases' && (
        <Releases key={shown} view={view} app={view.app} nowMs={nowMs} chosen={place.release} onChoose={choose} />
      )}
      {shown !== null && view.app !== null && place.page === 'app' && (
        <AppPage key={shown} view={view} app={view.app} nowMs={nowMs} selected={place.part} onSelect={select} />
      )}
    </>
  )
}

/** The page of releases, which is loaded when it is first shown. */
function Releases(props: ReleasesPageProps): JSX.Element {
  const [Loaded, setLoaded] = useState<FunctionComponent<ReleasesPageProps> | null>(null)
  useEffect(() => {
    void import('./releases-page.tsx').then(({ ReleasesPage }) => setLoaded(() => ReleasesPage))
  }, [])
  return Loaded === null ? <main class="page" /> : <Loaded {...props} />
}

function Bar({ view, app }: { readonly view: View; readonly app: string | null }): JSX.Element {
  const several = (view.apps?.length ?? 0) > 1
  return (
    <header class="bar">
      <a class="bar-home" href="#/" aria-label="Stead, all apps">
        <Mark />
        <span>stead</span>
      </a>
      {several && app !== null && (
        <nav class="bar-apps" aria-label="Apps">
          <select aria-label="App" value={app} onChange={(event) => go({ app: event.currentTarget.value })}>
            {view.apps?.map(({ head }) => (
              <option key={head.app} value={head.app}>
                {head.app}
              </option>
            ))}
          </select>
        </nav>
      )}
      <span class="bar-line" role="status">
        {view.line === 'live' && (
          <span class="live tone-good">
            <i class="dot" />
            live
          </span>
        )}
        {view.line === 'opening' && (
          <span class="live tone-busy">
            <i class="dot" />
            opening
          </span>
        )}
        {view.line === 'lost' && (
          <span class="live tone-bad">
            <i class="dot" />
            line lost, trying again
          </span>
        )}
      </span>
      <button type="button" class="button button-bare" onClick={() => void logOut()}>
        Log out
      </button>
    </header>
  )
}

function NoApp({ view, app }: { readonly view: View; readonly app: string }): JSX.Element {
  return (
    <main class="page">
      <div class="notice">
        <h1>{app}</h1>
        <p>
          {view.missing === null
            ? 'Asking the platform …'
            : 'No such app runs here now. It appears here by itself when it starts.'}
        </p>
        <p>
          <a href="#/">All apps</a>
        </p>
      </div>
    </main>
  )
}

function LoggedOut({ refused }: { readonly refused: string | null }): JSX.Element {
  return (
    <main class="page page-alone">
      <div class="notice card">
        <Mark />
        <h1>{refused === null ? 'Nobody is logged in here' : 'That did not let you in'}</h1>
        {refused !== null && <p>{`${refused.slice(0, 1).toUpperCase()}${refused.slice(1)}.`}</p>}
        <p>Ask for a fresh address in a terminal, and open it in this browser:</p>
        <pre>
          <code>stead dashboard</code>
        </pre>
        <p class="quiet small">
          It works once, and for a quarter of an hour. The session then stays with this browser.
        </p>
      </div>
    </main>
  )
}

const refused = await logInFromAddress()
const element = document.getElementById('page')
if (element !== null) render(<Page refused={refused} />, element)
