/** A rollout: its steps with their times and what each found; and the one that is under way, with a way to take it back. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { ReleaseView, RolloutView } from '../release-wire.ts'
import { AskDialog } from './actions.tsx'
import { failedWords, stepWord, takeBackWords, took, wayOf } from './release-words.ts'
import type { Held } from './held.ts'
import { ask } from './session.ts'
import { age, milliseconds } from './words.ts'

/** The steps that are over, under way and to come. */
export function Steps({ rollout, nowMs }: { readonly rollout: RolloutView; readonly nowMs: number }): JSX.Element {
  const { steps, toCome, reason } = rollout
  return (
    <ol class="steps">
      {steps.map(({ step, startMs, endMs, lines }) => {
        const failed = endMs !== null && reason !== null && lines.includes(reason)
        const state = endMs === null ? 'busy' : failed ? 'bad' : 'good'
        return (
          <li key={`${step} ${startMs}`} class={`step tone-${state}`}>
            <i class={endMs === null ? 'dot dot-busy' : 'dot'} />
            <div>
              <p class="step-head">
                <span>{stepWord(step, rollout)}</span>
                <span class="quiet number">{endMs === null ? age(nowMs - startMs) : took(endMs - startMs)}</span>
              </p>
              {lines.map((line) => (
                <p key={line} class="step-line">
                  {line}
                </p>
              ))}
            </div>
          </li>
        )
      })}
      {toCome.map((step) => (
        <li key={step} class="step step-to-come">
          <i class="dot" />
          <p class="step-head">{stepWord(step, rollout)}</p>
        </li>
      ))}
    </ol>
  )
}

export interface RunningProps {
  readonly app: string
  readonly release: ReleaseView
  readonly rollout: RolloutView
  readonly counted: Held['counted']
  readonly nowMs: number
  readonly mayTakeBack: boolean
}

/** The rollout that is under way. */
export function Running({ app, release, rollout, counted, nowMs, mayTakeBack }: RunningProps): JSX.Element {
  const [asking, setAsking] = useState(false)
  const { number } = release
  const isReturn = rollout.kind === 'return'
  const title = rollout.takingBack
    ? `Release ${number} is being taken back`
    : isReturn
      ? `Going back to release ${release.backTo}`
      : `Release ${number} is being rolled out`
  // Once data and code are being exchanged, or the old release is being ended, there is no way but forward.
  const step = rollout.steps.at(-1)?.step ?? 'start'
  const tooLate = ['confirm', 'contract'].includes(step) || (rollout.withData && ['exchange', 'report'].includes(step))
  return (
    <section class="card running" id="running" aria-labelledby="running-title">
      <header class="instances-head">
        <div role="status">
          <h2 id="running-title" class="state tone-busy">
            <i class="dot dot-busy" />
            {title}
          </h2>
          <p class="quiet small" aria-live="off">
            {`${wayOf(release)} · by ${release.by} · for ${age(nowMs - rollout.startMs)}`}
          </p>
        </div>
        {mayTakeBack && !rollout.takingBack && !tooLate && (
          <button type="button" class="button button-risky" onClick={() => setAsking(true)}>
            Take it back
          </button>
        )}
      </header>
      <div class="halves">
        <Steps rollout={rollout} nowMs={nowMs} />
        <Shares release={release} rollout={rollout} counted={counted} />
      </div>
      {asking && (
        <AskDialog
          title={`Take release ${number} back?`}
          no="Let it go on"
          yes="Take it back"
          work={() => ask('POST', `/api/v1/apps/${encodeURIComponent(app)}/rollout/cancel`)}
          onClose={() => setAsking(false)}
        >
          <p>{takeBackWords(rollout)}</p>
        </AskDialog>
      )}
    </section>
  )
}

interface SharesProps {
  readonly release: ReleaseView
  readonly rollout: RolloutView
  readonly counted: Held['counted']
}

/** Which of both releases gets which share of the requests, and what became of those. */
function Shares({ release, rollout, counted }: SharesProps): JSX.Element | null {
  const { old, shape, strategy } = rollout
  if (old === null || shape === null) return null
  const [before, after] = [counted?.old ?? null, counted?.new ?? null]
  const all = (before?.requests ?? 0) + (after?.requests ?? 0)
  // One instance after another, the shares are what they turn out to be.
  const asItComes = strategy === 'rolling' && rollout.steps.at(-1)?.step === 'start'
  const share = !asItComes ? shape.newShare : all === 0 ? 0 : Math.round((100 * (after?.requests ?? 0)) / all)
  const parts = [
    { name: `Release ${old}`, share: 100 - share, sample: before, tone: 'idle' },
    { name: `Release ${release.number}`, share, sample: after, tone: 'accent' },
  ] as const
  return (
    <div class="shares">
      <h3>{shape.hold ? 'Requests wait meanwhile' : 'Requests'}</h3>
      <div class="shares-bar" aria-hidden="true">
        {!shape.hold &&
          parts.map(({ tone, share: of }) => <i key={tone} class={`fill-${tone}`} style={{ width: `${of}%` }} />)}
      </div>
      {shape.hold ? (
        <p class="quiet small">Nobody is refused, as long as it is done in time.</p>
      ) : (
        <dl class="shares-two">
          {parts.map(({ name, share: of, sample, tone }) => (
            <div key={name}>
              <dt>
                <i class={`swatch fill-${tone}`} aria-hidden="true" />
                {name}
              </dt>
              <dd>
                <strong class="number">{`${of} %`}</strong>
                {sample !== null && <span class="quiet">{failedWords(sample.errors, sample.requests)}</span>}
                {sample !== null && sample.p99Ms !== null && (
                  <span class="quiet">{`99 % within ${milliseconds(sample.p99Ms)}`}</span>
                )}
              </dd>
            </div>
          ))}
        </dl>
      )}
    </div>
  )
}
