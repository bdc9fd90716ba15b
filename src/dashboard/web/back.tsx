/**
 * Going back. Invariant: before the data goes back, what would be left behind has been shown; what cannot be is said in the
 * platform's words and cannot be chosen.
 */
import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { BackPreview, BackWish } from '../../operator/index.ts'
import { AskDialog, wordsOf } from './actions.tsx'
import { LeftTable, Sentences } from './report.tsx'
import { ask, Refusal } from './session.ts'

/** Where to go back to: the code of a release, with the data of a checkpoint of a person's choice or the one that fits. */
export interface BackTarget {
  readonly release: number
  readonly checkpoint: string | null
}

interface BackDialogProps {
  readonly app: string
  readonly live: number
  readonly target: BackTarget
  /** Told the number of the release that the return makes. */
  readonly onBegun: (release: number) => void
  readonly onClose: () => void
}

/** What a return would do, as the platform says; or why it cannot be. */
type Looked = { readonly preview: BackPreview } | { readonly problem: string } | null

export function BackDialog({ app, live, target, onBegun, onClose }: BackDialogProps): JSX.Element {
  const { release, checkpoint } = target
  const codeOnly = usePreview(app, checkpoint === null ? { target: release, withData: null, checkpoint } : null)
  const withData = usePreview(app, { target: release, withData: true, checkpoint })
  const [chosen, choose] = useState<'code' | 'data' | null>(null)
  const codeFits = codeOnly !== null && 'preview' in codeOnly
  const dataFits = withData !== null && 'preview' in withData
  // Nothing is chosen for anybody before both are known.
  const known = (checkpoint !== null || codeOnly !== null) && withData !== null
  const how = chosen ?? (!known ? null : codeFits ? 'code' : dataFits ? 'data' : null)
  const begin = async (): Promise<void> => {
    const wish: BackWish = { target: release, withData: how === 'data' ? true : null, checkpoint }
    const answer = await ask('POST', `/api/v1/apps/${encodeURIComponent(app)}/rollback`, wish)
    onBegun(((await answer.json()) as { readonly release: number }).release)
  }
  return (
    <AskDialog
      title={checkpoint === null ? `Go back to release ${release}?` : `Go back to ${checkpoint}?`}
      no="Stay here"
      yes={how === 'data' ? 'Go back with the data' : 'Go back'}
      risky={how === 'data'}
      ready={how === 'code' ? codeFits : how === 'data' && dataFits}
      work={begin}
      onClose={onClose}
    >
      <p>{`Release ${live} serves now. Whatever you choose, its code and its data are kept.`}</p>
      <fieldset class="ways">
        <legend class="hidden">What goes back</legend>
        {checkpoint === null && (
          <Way
            name="Code only"
            words="The data stays as it is: nothing that was written is lost."
            looked={codeOnly}
            checked={how === 'code'}
            onChoose={() => choose('code')}
          />
        )}
        <Way
          name="With the data"
          words="The data of then comes back, and what was written since is kept as a branch."
          looked={withData}
          checked={how === 'data'}
          onChoose={() => choose('data')}
        />
      </fieldset>
      {how === 'data' && dataFits && <WouldBeLeft app={app} preview={withData.preview} />}
    </AskDialog>
  )
}

function usePreview(app: string, wish: BackWish | null): Looked {
  const [looked, setLooked] = useState<Looked>(null)
  const key = JSON.stringify(wish)
  useEffect(() => {
    if (wish === null) return
    const stop = new AbortController()
    ask('POST', `/api/v1/apps/${encodeURIComponent(app)}/rollback/preview`, wish, stop.signal)
      .then((answer) => answer.json())
      .then(
        (preview) => setLooked({ preview: preview as BackPreview }),
        (error: unknown) => {
          // The hint is a command, and the page has buttons.
          if (!stop.signal.aborted) setLooked({ problem: error instanceof Refusal ? error.message : wordsOf(error) })
        },
      )
    return () => stop.abort()
  }, [app, key])
  return looked
}

interface WayProps {
  readonly name: string
  readonly words: string
  readonly looked: Looked
  readonly checked: boolean
  readonly onChoose: () => void
}

function Way({ name, words, looked, checked, onChoose }: WayProps): JSX.Element {
  const problem = looked !== null && 'problem' in looked ? looked.problem : null
  return (
    <label class={problem === null ? 'way' : 'way way-off'}>
      <input type="radio" name="way" checked={checked} disabled={problem !== null} onChange={onChoose} />
      <span>
        <strong>{name}</strong>
        <span>{looked === null ? 'Asking the platform …' : problem === null ? words : `Not possible: ${problem}`}</span>
      </span>
    </label>
  )
}

function WouldBeLeft({
  app,
  preview: { preview, checkpoint },
}: {
  readonly app: string
  readonly preview: BackPreview
}) {
  const changes = (preview?.changes ?? []).filter(({ added, removed, changed }) => added + removed + changed > 0)
  const left = changes.map(({ part, name, added, removed, changed }) => {
    return { part, name, inserted: added, updated: changed, deleted: removed, replay: null }
  })
  return (
    <section class="report would-be" role="status">
      <h3>{left.length === 0 ? 'Nothing has been written since' : 'Would be left behind'}</h3>
      <p class="quiet small">{`Since the checkpoint ${checkpoint ?? ''}, counted until now.`}</p>
      {left.length > 0 && <LeftTable app={app} left={left} branch={null} />}
      <Sentences title="Not counted" lines={preview?.gaps ?? []} />
    </section>
  )
}
