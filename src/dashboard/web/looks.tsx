/**
 * What a person may see of the instances of a part: whose debuggers are in them, where they stand, what takes their time, in the
 * page, and the command that brings a debugger into one. Invariant: what the platform does not offer to this session is not shown.
 */
import type { JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { PartStatus } from '../../operator/index.ts'
import type { AppState, ShapePart } from '../wire.ts'
import { Problem, useAction } from './actions.tsx'
import { Flame } from './flame.tsx'
import type { Profile } from './flame.ts'
import { ask } from './session.ts'
import { age } from './words.ts'

/** How long a profile is that a page asks for. */
const profileSeconds = 5

/** As the platform tells it. */
interface Stack {
  readonly threads: readonly {
    readonly name: string
    readonly state: 'running' | 'waiting'
    readonly frames: readonly { readonly name: string; readonly file: string; readonly line: number }[]
  }[]
  readonly waitingFor: readonly string[]
  readonly stoppedMs: number
}

interface LooksProps {
  readonly app: AppState
  readonly part: ShapePart
  readonly offers: readonly string[]
  readonly nowMs: number
  /** The instance that somebody wants to look into; null: no one. */
  readonly wanted: string | null
}

export function canLook(offers: readonly string[]): boolean {
  return offers.includes('POST /v1/apps/:app/parts/:part/stack')
}

export function Looks({ app, part, offers, nowMs, wanted }: LooksProps): JSX.Element | null {
  const running = Object.values(app.parts).filter(({ part: name, pid }) => name === part.name && pid !== null)
  if (running.length === 0 || part.type === 'secret' || !canLook(offers)) return null
  return (
    <section class="looks" aria-label={`Look into ${part.name}`}>
      {running.map((instance) => (
        <Look
          key={instance.instance ?? part.name}
          app={app.head.app}
          instance={instance}
          isNamed={running.length > 1}
          profiles={offers.includes('POST /v1/apps/:app/parts/:part/profile')}
          nowMs={nowMs}
          isWanted={wanted !== null && wanted === instance.instance}
        />
      ))}
    </section>
  )
}

interface LookProps {
  readonly app: string
  readonly instance: PartStatus
  /** Whether there are others, from which it is told apart. */
  readonly isNamed: boolean
  readonly profiles: boolean
  readonly nowMs: number
  readonly isWanted: boolean
}

type Shown = { readonly stack: Stack } | { readonly profile: Profile; readonly at: number }

function Look({ app, instance, isNamed, profiles, nowMs, isWanted }: LookProps): JSX.Element {
  const { busy, problem, run } = useAction()
  const box = useRef<HTMLDivElement>(null)
  const [doing, setDoing] = useState<string | null>(null)
  const [shown, setShown] = useState<Shown | null>(null)
  const [debugs, setDebugs] = useState(false)
  useEffect(() => {
    if (!isWanted) return
    setDebugs(true)
    box.current?.scrollIntoView({ block: 'nearest' })
  }, [isWanted])
  const { part, instance: name } = instance
  const short = name === null ? part : name.slice(name.lastIndexOf('.') + 1)
  const post = async (what: string, body: object): Promise<unknown> => {
    const url = `/api/v1/apps/${encodeURIComponent(app)}/parts/${encodeURIComponent(part)}/${what}`
    return (await ask('POST', url, { instance: isNamed ? name : null, ...body })).json()
  }
  const stack = async (): Promise<void> => {
    setDoing(null)
    setShown({ stack: (await post('stack', {})) as Stack })
  }
  const profile = (kind: Profile['kind']) => async (): Promise<void> => {
    setDoing(`Watching for ${profileSeconds} seconds…`)
    const found = await post('profile', { kind, seconds: profileSeconds }).finally(() => setDoing(null))
    setShown({ profile: found as Profile, at: performance.now() })
  }
  return (
    <div ref={box} class="look-into">
      {isNamed && <h3>{`Instance ${short}`}</h3>}
      <Debuggers instance={instance} nowMs={nowMs} />
      <div class="buttons">
        <button type="button" class="button" aria-expanded={debugs} onClick={() => setDebugs(!debugs)}>
          Debug
        </button>
        <button type="button" class="button" disabled={busy} onClick={() => run(stack)}>
          Where does it stand?
        </button>
        {profiles && (
          <>
            <button type="button" class="button" disabled={busy} onClick={() => run(profile('cpu'))}>
              What works?
            </button>
            <button type="button" class="button" disabled={busy} onClick={() => run(profile('heap'))}>
              What takes memory?
            </button>
          </>
        )}
      </div>
      {debugs && (
        <div class="look">
          <p class="quiet small">
            In the directory of its code, on your machine; the editor's configuration is written too:
          </p>
          <pre>{`stead debug ${isNamed ? `${part}/${short}` : part} --app ${app} --write`}</pre>
          <p class="quiet small">
            While the program stands at a breakpoint it is not judged by whether it answers, and requests go to other
            instances where there are any.
          </p>
        </div>
      )}
      {doing !== null && (
        <p class="look small" role="status">
          {doing}
        </p>
      )}
      {shown !== null && 'stack' in shown && <Threads stack={shown.stack} />}
      {shown !== null && 'profile' in shown && <Flame key={shown.at} profile={shown.profile} />}
      <Problem words={problem} />
    </div>
  )
}

/** Who is attached, and since when. */
export function Debuggers({
  instance: { part, instance, heldSinceMs, debuggers = [] },
  nowMs,
}: {
  readonly instance: PartStatus
  readonly nowMs: number
}): JSX.Element | null {
  if (heldSinceMs === undefined) return null
  const known = debuggers.length > 0 ? debuggers : [{ by: null, sinceMs: heldSinceMs, stands: false, traffic: 'keep' }]
  return (
    <ul>
      {known.map(({ by, sinceMs, stands, traffic }, index) => (
        <li key={index} class="reason tone-busy">
          <strong>{by === null ? 'A debugger' : `The debugger of ${by}`}</strong>
          {` is in ${instance ?? part} for ${age(nowMs - sinceMs)}: `}
          {stands
            ? `it stands at a breakpoint${traffic === 'drain' ? ', requests go to others where there are any' : ''}.`
            : 'it is not judged by whether it answers.'}
        </li>
      ))}
    </ul>
  )
}

function Threads({ stack: { threads, waitingFor, stoppedMs } }: { readonly stack: Stack }): JSX.Element {
  return (
    <div class="look">
      {threads.map(({ name, state, frames }, index) => (
        <section key={index}>
          <h3>{`${name} ${frames.length === 0 ? 'waits for something to happen' : `is ${state}`}`}</h3>
          {frames.length > 0 && (
            <ol class="frames">
              {frames.map((frame, at) => (
                <li key={at}>
                  <code>{frame.name}</code>
                  {frame.file !== '' && <span class="quiet small">{` ${frame.file}:${frame.line}`}</span>}
                </li>
              ))}
            </ol>
          )}
        </section>
      ))}
      {waitingFor.length > 0 && <p class="small">{`Waits for ${waitingFor.join(', ')}.`}</p>}
      <p class="quiet small">{`It stood still for at most ${Math.ceil(stoppedMs)} ms.`}</p>
    </div>
  )
}
