/**
 * What a person may see of a program that runs: where it stands, in the page, and the command that brings a debugger into it.
 * Invariant: what the platform does not offer to this session is not shown.
 */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { AppState, ShapePart } from '../wire.ts'
import { Problem, useAction } from './actions.tsx'
import { ask } from './session.ts'

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
}

export function Looks({ app, part, offers }: LooksProps): JSX.Element | null {
  const { busy, problem, run } = useAction()
  const [stack, setStack] = useState<Stack | null>(null)
  const [debugs, setDebugs] = useState(false)
  const runs = Object.values(app.parts).some(({ part: name, pid }) => name === part.name && pid !== null)
  if (!runs || part.type === 'secret' || !offers.includes('POST /v1/apps/:app/parts/:part/stack')) return null
  const url = `/api/v1/apps/${encodeURIComponent(app.head.app)}/parts/${encodeURIComponent(part.name)}/stack`
  const look = async (): Promise<void> => {
    const answer = await ask('POST', url)
    setStack((await answer.json()) as Stack)
  }
  return (
    <div>
      <div class="buttons">
        <button type="button" class="button" disabled={busy} onClick={() => run(look)}>
          {stack === null ? 'Where does it stand?' : 'Look again'}
        </button>
        <button type="button" class="button" aria-expanded={debugs} onClick={() => setDebugs(!debugs)}>
          Debug
        </button>
      </div>
      {debugs && (
        <div class="look">
          <p class="quiet small">
            In the directory of its code, on your machine; the editor's configuration is written too:
          </p>
          <pre>{`stead debug ${part.name} --app ${app.head.app} --write`}</pre>
        </div>
      )}
      {stack !== null && <Threads stack={stack} />}
      <Problem words={problem} />
    </div>
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
