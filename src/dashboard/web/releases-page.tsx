/** The releases of an app: what is under way, the time line, and the copies of the data. */
import './styles/releases.css'
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { AppState } from '../wire.ts'
import { BackDialog, type BackTarget } from './back.tsx'
import { Copies } from './copies.tsx'
import { Headline } from './headline.tsx'
import type { View } from './line.ts'
import { ReleaseDetail } from './release-detail.tsx'
import { useData, useReleases } from './releases-held.ts'
import { Running } from './rollout.tsx'
import { Timeline } from './timeline.tsx'

export interface ReleasesPageProps {
  readonly view: View
  readonly app: AppState
  readonly nowMs: number
  /** The release that is looked into. */
  readonly chosen: number | null
  readonly onChoose: (release: number | null) => void
}

export function ReleasesPage({ view, app, nowMs, chosen, onChoose }: ReleasesPageProps): JSX.Element {
  const { app: name } = app.head
  const offers = view.hello?.offers ?? []
  const held = useReleases(name)
  const [changes, setChanges] = useState(0)
  const [target, setTarget] = useState<BackTarget | null>(null)
  const copies = [held?.checkpoints, held?.branches, held?.releases.map(({ state }) => state), changes]
  const data = useData(name, offers.includes('GET /v1/apps/:app/data'), JSON.stringify(copies))
  const running = held?.releases.find(({ state }) => state === 'rolling-out') ?? null
  const begun = (release: number): void => {
    onChoose(release)
    scrollTo({ top: 0 })
  }
  return (
    <main class="page">
      <div>
        <Headline app={app} offers={offers} page="releases" />
      </div>
      {running !== null && running.rollout !== null && held !== null && (
        <Running
          app={name}
          release={running}
          rollout={running.rollout}
          counted={held.counted}
          nowMs={nowMs}
          mayTakeBack={offers.includes('POST /v1/apps/:app/rollout/cancel')}
        />
      )}
      {held === null ? (
        <p class="quiet">Asking the platform …</p>
      ) : (
        <>
          <Timeline
            held={held}
            nowMs={nowMs}
            chosen={chosen}
            onChoose={onChoose}
            detail={(release) => (
              <ReleaseDetail
                app={name}
                release={release}
                nowMs={nowMs}
                offers={offers}
                isBusy={running !== null}
                onBack={(number) => setTarget({ release: number, checkpoint: null })}
              />
            )}
          />
          <Copies
            app={name}
            held={held}
            data={data}
            offers={offers}
            nowMs={nowMs}
            isBusy={running !== null}
            onBack={setTarget}
            onChange={() => setChanges((count) => count + 1)}
          />
        </>
      )}
      {target !== null && held !== null && (
        <BackDialog app={name} live={held.live} target={target} onBegun={begun} onClose={() => setTarget(null)} />
      )}
    </main>
  )
}
