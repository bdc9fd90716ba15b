/** Everything about one release: how it went, what it changed, what it is made of, and the way back to it. */
import type { JSX } from 'preact'
import type { ReleaseView } from '../release-wire.ts'
import { ReportView } from './report.tsx'
import { hasServed } from './release-words.ts'
import { Steps } from './rollout.tsx'

export interface ReleaseDetailProps {
  readonly app: string
  readonly release: ReleaseView
  readonly nowMs: number
  readonly offers: readonly string[]
  /** Whether a rollout is under way: then nothing else can begin. */
  readonly isBusy: boolean
  readonly onBack: (release: number) => void
}

export function ReleaseDetail({ app, release, nowMs, offers, isBusy, onBack }: ReleaseDetailProps): JSX.Element {
  const { number, live, rollout, report } = release
  const mayGoBack = offers.includes('POST /v1/apps/:app/rollback') && hasServed(release)
  return (
    <>
      <div class="halves">
        <section>
          <h3>Steps</h3>
          {rollout === null && <p class="quiet small">It was put in place at once.</p>}
          {rollout !== null && rollout.endMs === null && <p class="quiet small">Under way: they are shown above.</p>}
          {rollout !== null && rollout.endMs !== null && <Steps rollout={rollout} nowMs={nowMs} />}
        </section>
        <section>
          <Changes release={release} />
          <Made release={release} />
        </section>
      </div>
      {report !== null && (
        <ReportView
          app={app}
          report={report}
          mayReplay={offers.includes('POST /v1/apps/:app/replay')}
          mayBranch={offers.includes('POST /v1/apps/:app/branches')}
        />
      )}
      {mayGoBack && !isBusy && (
        <div class="buttons">
          <button type="button" class="button" onClick={() => onBack(number)}>
            {live ? 'Go back to its data of then' : 'Go back to this'}
          </button>
        </div>
      )}
      {mayGoBack && isBusy && <p class="quiet small">Going back is possible again when the rollout has ended.</p>}
    </>
  )
}

const kinds: Readonly<Record<string, string>> = { '+': 'new', '-': 'gone', '~': 'changed' }

function Changes({ release: { before, changes } }: { readonly release: ReleaseView }): JSX.Element {
  if (before === null) {
    return (
      <>
        <h3>What it changed</h3>
        <p class="quiet small">It is the first that is known.</p>
      </>
    )
  }
  return (
    <>
      <h3>{`What is other than in release ${before}`}</h3>
      {changes.length === 0 && <p class="quiet small">Nothing: code and declaration are the same.</p>}
      <ul class="diff">
        {changes.map((line) => (
          <li key={line} class={`diff-${kinds[line.slice(0, 1)] ?? 'changed'}`}>
            {line}
          </li>
        ))}
      </ul>
    </>
  )
}

function Made({ release: { schemas, secrets, generation } }: { readonly release: ReleaseView }): JSX.Element {
  return (
    <dl class="facts">
      {Object.entries(schemas).map(([part, schema]) => (
        <div key={part}>
          <dt>{`Schema of ${part}`}</dt>
          <dd>
            <code>{schema ?? 'none'}</code>
          </dd>
        </div>
      ))}
      {Object.entries(secrets).map(([part, version]) => (
        <div key={part}>
          <dt>{`Secret ${part}`}</dt>
          <dd>{`version ${version}`}</dd>
        </div>
      ))}
      <div>
        <dt>Data</dt>
        <dd>{`generation ${generation}`}</dd>
      </div>
    </dl>
  )
}
