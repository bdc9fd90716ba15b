/**
 * What a person may do to a part. Invariants: what the platform does not offer to this session is not shown; what breaks
 * something says first what it will do; what was refused is told in the platform's words.
 */
import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useId, useRef, useState } from 'preact/hooks'
import type { Fault } from '../../protocol/index.ts'
import type { AppState, ShapePart } from '../wire.ts'
import { Icon, type IconName } from './icons.tsx'
import { ask, Refusal } from './session.ts'
import { questionOf, warningOf } from './words.ts'

/** Operations that a part may have, by what their path ends on. */
const partOperations: readonly {
  readonly word: string
  readonly end: string
  readonly icon: IconName
  readonly kinds: readonly ShapePart['kind'][]
  /** Whether it means something while the part is stopped, or while it is not. */
  readonly whenStopped: boolean
}[] = [
  { word: 'Run it now', end: 'run', icon: 'start', kinds: ['job'], whenStopped: false },
  { word: 'Restart', end: 'restart', icon: 'restart', kinds: ['service'], whenStopped: false },
  { word: 'Stop', end: 'stop', icon: 'stop', kinds: ['service', 'job'], whenStopped: false },
  { word: 'Start', end: 'start', icon: 'start', kinds: ['service', 'job'], whenStopped: true },
]

const leases = [
  { words: '10 seconds', ms: 10_000 },
  { words: '30 seconds', ms: 30_000 },
  { words: '2 minutes', ms: 120_000 },
] as const

export function canBreak(offers: readonly string[]): boolean {
  return offers.includes('POST /v1/apps/:app/faults')
}

/** Something that is being done, and what became of it. */
interface Action {
  readonly busy: boolean
  /** The last refusal in words. */
  readonly problem: string | null
  readonly run: (work: () => Promise<unknown>) => void
}

export function useAction(): Action {
  const [busy, setBusy] = useState(false)
  const [problem, setProblem] = useState<string | null>(null)
  return {
    busy,
    problem,
    run(work) {
      setBusy(true)
      setProblem(null)
      work()
        .catch((error: unknown) => setProblem(wordsOf(error)))
        .finally(() => setBusy(false))
    },
  }
}

/** What was refused, in the platform's words. */
export function wordsOf(error: unknown): string {
  if (error instanceof Refusal) return error.hint === null ? error.message : `${error.message}. ${error.hint}`
  return 'the platform does not answer'
}

export function heal(app: string, fault: string): Promise<Response> {
  return ask('DELETE', `/api/v1/apps/${encodeURIComponent(app)}/faults/${encodeURIComponent(fault)}`)
}

interface ActionsProps {
  readonly app: AppState
  readonly part: ShapePart
  readonly offers: readonly string[]
}

/** Restart, stop and start, as far as the platform has them. */
export function PartButtons({ app, part, offers }: ActionsProps): JSX.Element | null {
  const { busy, problem, run } = useAction()
  const path = (end: string): string => `/v1/apps/:app/parts/:part/${end}`
  const own = Object.values(app.parts).filter((instance) => instance.part === part.name)
  const stopped = own.length > 0 && own.every(({ phase }) => phase === 'stopped')
  const offered = partOperations.filter(
    ({ end, kinds, whenStopped }) =>
      kinds.includes(part.kind) && whenStopped === stopped && offers.includes(`POST ${path(end)}`),
  )
  if (offered.length === 0) return null
  const url = (end: string): string =>
    `/api/v1/apps/${encodeURIComponent(app.head.app)}/parts/${encodeURIComponent(part.name)}/${end}`
  return (
    <div>
      <div class="buttons">
        {offered.map(({ word, end, icon }) => (
          <button key={end} type="button" class="button" disabled={busy} onClick={() => run(() => order(url(end)))}>
            <Icon name={icon} size={16} />
            {word}
          </button>
        ))}
      </div>
      <Problem words={problem} />
    </div>
  )
}

/** Asks for something to be done. What a run tells of itself is not waited for: its output is shown with all other. */
async function order(url: string): Promise<void> {
  const answer = await ask('POST', url)
  await answer.body?.cancel()
}

/** The faults that can be made at a part. */
export function BreakButtons({ app, part, offers }: ActionsProps): JSX.Element | null {
  const [chosen, setChosen] = useState<Fault | null>(null)
  if (!canBreak(offers)) return null
  const hasServer = part.kind === 'service' || (part.kind === 'resource' && part.type !== 'secret')
  const served = app.shape.parts.filter(({ name, type }) => part.uses.includes(name) && type !== 'secret')
  const faults: { readonly words: string; readonly icon: IconName; readonly fault: Fault }[] = [
    ...(hasServer
      ? [{ words: `Kill ${part.name}`, icon: 'kill', fault: { kind: 'kill', part: part.name } } as const]
      : []),
    ...served.map(
      ({ name }) =>
        ({
          words: `Cut the way to ${name}`,
          icon: 'cut',
          fault: { kind: 'cut', part: part.name, uses: name },
        }) as const,
    ),
    ...(part.kind === 'resource' && hasServer
      ? [{ words: 'Fill its disk', icon: 'disk', fault: { kind: 'fill-disk', share: 1 } } as const]
      : []),
  ]
  if (faults.length === 0) return null
  return (
    <section class="break">
      <h3>Break it</h3>
      <p class="quiet">See what your app does when something fails. Each fault heals by itself.</p>
      <div class="buttons">
        {faults.map(({ words, icon, fault }) => (
          <button key={words} type="button" class="button button-risky" onClick={() => setChosen(fault)}>
            <Icon name={icon} size={16} />
            {words}
          </button>
        ))}
      </div>
      {chosen !== null && <BreakDialog app={app.head.app} fault={chosen} onClose={() => setChosen(null)} />}
    </section>
  )
}

function BreakDialog(props: {
  readonly app: string
  readonly fault: Fault
  readonly onClose: () => void
}): JSX.Element {
  const { app, fault, onClose } = props
  const [leaseMs, setLease] = useState<number>(leases[0].ms)
  const breakIt = (): Promise<unknown> =>
    ask('POST', `/api/v1/apps/${encodeURIComponent(app)}/faults`, { fault, leaseMs })
  return (
    <AskDialog title={questionOf(fault)} no="Leave it whole" yes="Break it" work={breakIt} onClose={onClose}>
      <p>{warningOf(fault, app)}</p>
      <fieldset class="choice">
        <legend>For how long</legend>
        {leases.map(({ words: text, ms }) => (
          <label key={ms}>
            <input type="radio" name="lease" checked={leaseMs === ms} onChange={() => setLease(ms)} />
            <span>{text}</span>
          </label>
        ))}
      </fieldset>
    </AskDialog>
  )
}

export interface AskDialogProps {
  readonly title: string
  readonly children: ComponentChildren
  /** Words of the buttons. */
  readonly no: string
  readonly yes: string
  /** Whether it may be answered with yes yet. */
  readonly ready?: boolean
  /** Whether yes takes something away. */
  readonly risky?: boolean
  /** The dialog closes when it has been done, and stays with what was refused. */
  readonly work: () => Promise<unknown>
  readonly onClose: () => void
}

/** Asks before something is done. */
export function AskDialog(props: AskDialogProps): JSX.Element {
  const { title, children, no, yes, ready = true, risky = true, work, onClose } = props
  const dialog = useRef<HTMLDialogElement>(null)
  const { busy, problem, run } = useAction()
  const titleId = useId()
  useEffect(() => dialog.current?.showModal(), [])
  const doIt = async (): Promise<void> => {
    await work()
    onClose()
  }
  return (
    <dialog ref={dialog} onClose={onClose} aria-labelledby={titleId}>
      <h2 id={titleId}>{title}</h2>
      {children}
      <Problem words={problem} />
      <div class="buttons buttons-end">
        <button type="button" class="button" onClick={onClose}>
          {no}
        </button>
        <button
          type="button"
          class={risky ? 'button button-danger' : 'button button-main'}
          disabled={busy || !ready}
          onClick={() => run(doIt)}
        >
          {yes}
        </button>
      </div>
    </dialog>
  )
}

export function Problem({ words }: { readonly words: string | null }): JSX.Element | null {
  if (words === null) return null
  return (
    <p class="problem" role="alert">
      {`Refused: ${words}`}
    </p>
  )
}
