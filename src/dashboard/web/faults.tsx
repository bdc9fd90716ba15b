/** What is broken on purpose, until when, and what it has cost so far; and what was broken a while ago. */
import type { JSX } from 'preact'
import type { AppState, FaultView } from '../wire.ts'
import { heal, Problem, useAction } from './actions.tsx'
import { age, bytes, counted, faultWords } from './words.ts'

/** The faults that last, each with its costs and a way to end it. */
export function Broken({
  app,
  nowMs,
  mayHeal,
}: {
  readonly app: AppState
  readonly nowMs: number
  readonly mayHeal: boolean
}): JSX.Element {
  const lasting = Object.values(app.faults).filter(({ status }) => status.endedMs === null)
  return (
    <div aria-live="polite">
      {lasting.map((fault) => (
        <BrokenNow key={fault.status.id} app={app.head.app} fault={fault} nowMs={nowMs} mayHeal={mayHeal} />
      ))}
    </div>
  )
}

interface BrokenProps {
  readonly app: string
  readonly fault: FaultView
  readonly nowMs: number
  readonly mayHeal: boolean
}

function BrokenNow({ app, fault, nowMs, mayHeal }: BrokenProps): JSX.Element {
  const { busy, problem, run } = useAction()
  const { status } = fault
  const leftMs = Math.max(0, status.untilMs - nowMs)
  return (
    <div class="broken">
      <div class="broken-words">
        <strong>{`On purpose: ${faultWords(status.fault)}.`}</strong>
        <span>{leftMs === 0 ? 'It heals now.' : `It heals by itself in ${age(leftMs + 999)}.`}</span>
      </div>
      <p class="broken-costs">{`Lost so far: ${costsOf(fault)}`}</p>
      {mayHeal && (
        <button type="button" class="button" disabled={busy} onClick={() => run(() => heal(app, status.id))}>
          Heal it now
        </button>
      )}
      <Problem words={problem} />
      <i class="broken-time" style={{ transform: `scaleX(${leftMs / status.leaseMs})` }} />
    </div>
  )
}

/** The faults of the last minutes, the newest first. */
export function BrokenBefore({ app, nowMs }: { readonly app: AppState; readonly nowMs: number }): JSX.Element | null {
  const over = Object.values(app.faults).filter(({ status }) => status.endedMs !== null)
  if (over.length === 0) return null
  return (
    <section class="card past">
      <h2>Broken a while ago</h2>
      <ul>
        {over
          .toSorted((a, b) => b.status.sinceMs - a.status.sinceMs)
          .map((fault) => (
            <li key={fault.status.id}>
              <span>
                {faultWords(fault.status.fault).replace(/ (is|and) /g, (word) => (word === ' is ' ? ' was ' : word))}
              </span>
              <span class="quiet">
                {`for ${age((fault.status.endedMs ?? 0) - fault.status.sinceMs)}, healed ${age(nowMs - (fault.status.endedMs ?? 0))} ago. Lost: ${costsOf(fault)}`}
              </span>
            </li>
          ))}
      </ul>
    </section>
  )
}

function costsOf({ status: { fault, counts }, requestsFailed }: FaultView): string {
  const own =
    fault.kind === 'kill'
      ? [`${counted(counts.killed, 'program')} killed`]
      : fault.kind === 'cut'
        ? [
            `${counted(counts.streamsReset, 'connection')} cut off`,
            `${counted(counts.streamsRefused, 'new one')} refused`,
          ]
        : [`${bytes(counts.filledBytes)} of room`]
  return [...own, ...(requestsFailed === null ? [] : [`${counted(requestsFailed, 'request')} failed`])].join(', ')
}
