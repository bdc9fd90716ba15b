/** Brings a checkpoint forward along the log to a moment, as a checkpoint of its own: nothing live is touched. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { DataAnswers } from '../../protocol/index.ts'
import { AskDialog } from './actions.tsx'
import { ask } from './session.ts'

interface MomentDialogProps {
  readonly app: string
  /** Told where it has led, a line each. */
  readonly onMade: (lines: readonly string[]) => void
  readonly onClose: () => void
}

export function MomentDialog({ app, onMade, onClose }: MomentDialogProps): JSX.Element {
  // In the time of whoever looks, to the second.
  const [moment, setMoment] = useState('')
  const [named, setNamed] = useState<string | null>(null)
  const [confirmed, setConfirmed] = useState(false)
  const timeMs = Date.parse(moment)
  const name = named ?? (Number.isNaN(timeMs) ? '' : `at-${moment.replaceAll(/[^0-9]+/g, '-')}`)
  const make = async (): Promise<void> => {
    const wish = { copy: name.trim(), target: { kind: 'time', timeMs }, confirmed }
    const answer = await ask('POST', `/api/v1/apps/${encodeURIComponent(app)}/restore`, wish)
    onMade(linesOf(name.trim(), (await answer.json()) as DataAnswers['forward']))
  }
  return (
    <AskDialog
      title="Restore a moment"
      no="Not now"
      yes="Restore it beside the live data"
      risky={false}
      ready={!Number.isNaN(timeMs) && name.trim() !== ''}
      work={make}
      onClose={onClose}
    >
      <p>
        The newest checkpoint from before it is copied and brought forward along the log of its databases. What comes of
        it is a checkpoint: open it as a branch to look, or go back to it. The live data is not touched.
      </p>
      <label class="field-named">
        <span>Moment</span>
        <input
          type="datetime-local"
          step="1"
          value={moment}
          onInput={(event) => setMoment(event.currentTarget.value)}
        />
      </label>
      <label class="field-named">
        <span>Name of what comes of it</span>
        <input type="text" value={name} autocomplete="off" onInput={(event) => setNamed(event.currentTarget.value)} />
      </label>
      <label class="field-check">
        <input type="checkbox" checked={confirmed} onChange={(event) => setConfirmed(event.currentTarget.checked)} />
        <span>Also where nothing keeps the clock of the machine</span>
      </label>
    </AskDialog>
  )
}

/** Where it has led, and what has not followed. */
function linesOf(name: string, { parts, gaps, clockErrorMs }: DataAnswers['forward']): readonly string[] {
  return [
    `${name} is made.`,
    ...parts.map(({ part, position, lastChangeMs }) => {
      const last = lastChangeMs === null ? '' : `, its last change at ${new Date(lastChangeMs).toLocaleString()}`
      return `${part}: ${position}${last}`
    }),
    clockErrorMs === null
      ? 'The clock may be off by an unknown time: changes around that moment may be on either side.'
      : `The clock is right to ${Math.ceil(clockErrorMs)} ms: changes that close to that moment may be on either side.`,
    ...gaps,
  ]
}
