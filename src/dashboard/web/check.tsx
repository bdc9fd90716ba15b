/**
 * What `stead check` says of the design of the app that runs. It is asked for when the page opens and when the release
 * changes, and shown when it is there: a platform that does not offer it, or cannot answer, takes nothing away from the page.
 */
import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { Checkup, CheckupCause, CheckupFinding, CheckupSeverity } from '../../operator/index.ts'
import type { View } from './line.ts'
import { ask } from './session.ts'
import { counted, type Tone } from './words.ts'

/** Of each cause and of each finding, what is shown before the rest is counted. */
const findingsShown = 3
const partsShown = 5

/** The checkup of an app's release; null while there is none. */
export function useCheckup(view: View, app: string, release: number): Checkup | null {
  const [checkup, setCheckup] = useState<Checkup | null>(null)
  const wanted = view.line === 'live' && view.hello?.offers.includes('GET /v1/apps/:app/checkup') === true
  useEffect(() => {
    if (!wanted) return
    const stop = new AbortController()
    void checkupOf(app, stop.signal).then((found) => {
      if (!stop.signal.aborted) setCheckup(found)
    })
    return () => stop.abort()
  }, [app, release, wanted])
  return checkup
}

async function checkupOf(app: string, signal: AbortSignal): Promise<Checkup | null> {
  try {
    const answer = await ask('GET', `/api/v1/apps/${encodeURIComponent(app)}/checkup`, undefined, signal)
    return (await answer.json()) as Checkup
  } catch {
    return null
  }
}

interface CheckProps {
  readonly checkup: Checkup
  readonly onSelect: (part: string) => void
}

export function Check({ checkup, onSelect }: CheckProps): JSX.Element {
  const { causes, singlePointsOfFailure, beneath, release } = checkup
  return (
    <section class="card checkup" aria-labelledby="checkup">
      <header class="instances-head">
        <h2 id="checkup">Check</h2>
        <p class="quiet small">{`the design of release ${release}, as stead check sees it`}</p>
      </header>
      {singlePointsOfFailure.length + beneath.length > 0 && (
        <dl class="alone">
          {singlePointsOfFailure.length > 0 && (
            <div>
              <dt>Parts that alone take it down</dt>
              <dd>
                <Parts names={singlePointsOfFailure} more={0} onSelect={onSelect} />
              </dd>
            </div>
          )}
          {beneath.length > 0 && (
            <div>
              <dt>What does so beneath the parts</dt>
              <dd>{beneath.join(', ')}</dd>
            </div>
          )}
        </dl>
      )}
      {causes.length === 0 && <p class="quiet">Nothing is wrong that can be seen from the design.</p>}
      {causes.map((cause) => (
        <Cause key={cause.title} cause={cause} onSelect={onSelect} />
      ))}
    </section>
  )
}

function Cause({
  cause: { title, findings, more },
  onSelect,
}: {
  readonly cause: CheckupCause
  readonly onSelect: (part: string) => void
}): JSX.Element {
  const rest = Math.max(0, findings.length - findingsShown) + more
  return (
    <div class="cause">
      <h3>{title}</h3>
      <ul>
        {findings.slice(0, findingsShown).map((finding) => (
          <Finding key={`${finding.rule} ${finding.message} ${finding.advice}`} finding={finding} onSelect={onSelect} />
        ))}
      </ul>
      {rest > 0 && (
        <p class="quiet small">
          {`and ${rest} more: `}
          <code>stead check</code>
        </p>
      )}
    </div>
  )
}

const tones: Readonly<Record<CheckupSeverity, Tone>> = { critical: 'bad', high: 'bad', medium: 'busy', low: 'idle' }

function Finding({
  finding: { severity, message, reason, advice, parts, moreParts },
  onSelect,
}: {
  readonly finding: CheckupFinding
  readonly onSelect: (part: string) => void
}): JSX.Element {
  return (
    <li class="finding">
      <span class={`severity tone-${tones[severity]}`}>
        <i class="dot" />
        {severity}
      </span>
      <div>
        <p class="finding-words">
          <Parts names={parts} more={moreParts} onSelect={onSelect} />
          <span>{`${message}.`}</span>
        </p>
        <p class="quiet">
          <Words text={reason} />
        </p>
        <p class="advice">
          <Words text={advice} />
        </p>
      </div>
    </li>
  )
}

/** A sentence in which what can be typed stands between backticks. */
function Words({ text }: { readonly text: string }): JSX.Element {
  return <>{text.split('`').map((piece, index) => (index % 2 === 0 ? piece : <code>{piece}</code>))}</>
}

interface PartsProps {
  readonly names: readonly string[]
  /** How many there are besides. */
  readonly more: number
  readonly onSelect: (part: string) => void
}

function Parts({ names, more, onSelect }: PartsProps): JSX.Element {
  const rest = Math.max(0, names.length - partsShown) + more
  return (
    <>
      {names.slice(0, partsShown).map((name) => (
        <button key={name} type="button" class="link" onClick={() => onSelect(name)}>
          {name}
        </button>
      ))}
      {rest > 0 && <span class="quiet">{`and ${counted(rest, 'other')}`}</span>}
    </>
  )
}
