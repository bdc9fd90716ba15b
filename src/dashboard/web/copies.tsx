/** The copies of the data: checkpoints, what returns have left, branches that run, and the room that all of it takes. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { DataState } from '../../protocol/index.ts'
import { AskDialog, Problem, useAction } from './actions.tsx'
import type { BackTarget } from './back.tsx'
import { BranchDialog } from './branch-dialog.tsx'
import { MomentDialog } from './moment-dialog.tsx'
import { ago } from './release-words.ts'
import type { Held } from './held.ts'
import { ask } from './session.ts'
import { bytes } from './words.ts'

export interface CopiesProps {
  readonly app: string
  readonly held: Held
  readonly data: DataState | null
  readonly offers: readonly string[]
  readonly nowMs: number
  readonly isBusy: boolean
  readonly onBack: (target: BackTarget) => void
  /** Told when a copy is there or gone of which the releases say nothing. */
  readonly onChange: () => void
}

/** A copy as a line of the table. */
interface Line {
  readonly name: string
  readonly what: string
  readonly createdAtMs: number
  readonly ownBytes: number | null
  /** The release whose code fits it; null: it cannot be gone back to by itself. */
  readonly release: number | null
}

export function Copies({ app, held, data, offers, nowMs, isBusy, onBack, onChange }: CopiesProps): JSX.Element {
  const [deleting, setDeleting] = useState<string | null>(null)
  const [restoring, setRestoring] = useState(false)
  const [restored, setRestored] = useState<readonly string[]>([])
  const [branching, setBranching] = useState<{ readonly from: string | null } | null>(null)
  const lines = linesOf(held, data)
  const mayDelete = offers.includes('POST /v1/apps/:app/copies/delete')
  const mayBranch = offers.includes('POST /v1/apps/:app/branches')
  const mayGoBack = offers.includes('POST /v1/apps/:app/rollback') && !isBusy
  const deleteCopy = async (): Promise<void> => {
    await ask('POST', `/api/v1/apps/${encodeURIComponent(app)}/copies/delete`, { names: [deleting] })
    onChange()
  }
  return (
    <section class="card copies" aria-labelledby="copies">
      <header class="instances-head">
        <h2 id="copies">Data</h2>
        {offers.includes('POST /v1/apps/:app/restore') && (
          <button type="button" class="button" onClick={() => setRestoring(true)}>
            Restore a moment
          </button>
        )}
        {offers.includes('PUT /v1/apps/:app/checkpoints/:name') && <MakeCheckpoint app={app} onMade={onChange} />}
      </header>
      {data !== null && <Room data={data} />}
      {restored.length > 0 && (
        <div class="quiet small" role="status">
          {restored.map((line) => (
            <p key={line}>{line}</p>
          ))}
        </div>
      )}
      {lines.length === 0 ? (
        <p class="quiet small">There is no checkpoint yet. Every release makes one before it, where there is data.</p>
      ) : (
        <div class="table-room table-many" tabIndex={0}>
          <table>
            <thead>
              <tr>
                <th scope="col">Copy</th>
                <th scope="col">What it is</th>
                <th scope="col" class="right">
                  Made
                </th>
                <th scope="col" class="right">
                  Held alone
                </th>
                <th scope="col">
                  <span class="hidden">What can be done</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {lines.map(({ name, what, createdAtMs, ownBytes, release }) => (
                <tr key={name}>
                  <th scope="row">
                    <code>{name}</code>
                  </th>
                  <td class="copy-what">{what}</td>
                  <td class="right number" data-label="Made">
                    {ago(nowMs - createdAtMs)}
                  </td>
                  <td class="right number" data-label="Held alone">
                    {ownBytes === null ? '—' : bytes(ownBytes)}
                  </td>
                  <td class="copy-actions">
                    <div>
                      {mayGoBack && release !== null && (
                        <button
                          type="button"
                          class="link"
                          aria-label={`Go back to ${name}`}
                          onClick={() => onBack({ release, checkpoint: name })}
                        >
                          Go back
                        </button>
                      )}
                      {mayBranch && (
                        <button
                          type="button"
                          class="link"
                          aria-label={`Open ${name} as a branch`}
                          onClick={() => setBranching({ from: name })}
                        >
                          Branch
                        </button>
                      )}
                      {mayDelete && (
                        <button
                          type="button"
                          class="link link-risky"
                          aria-label={`Delete ${name}`}
                          onClick={() => setDeleting(name)}
                        >
                          Delete
                        </button>
                      )}
                    </div>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <Branches app={app} held={held} offers={offers} onOpen={() => setBranching({ from: null })} />
      {deleting !== null && (
        <AskDialog
          title={`Delete ${deleting}?`}
          no="Keep it"
          yes="Delete it"
          work={deleteCopy}
          onClose={() => setDeleting(null)}
        >
          <p>Nobody can go back to it or look into it then. The live data and all other copies stay as they are.</p>
        </AskDialog>
      )}
      {restoring && (
        <MomentDialog
          app={app}
          onMade={(lines) => {
            setRestored(lines)
            onChange()
          }}
          onClose={() => setRestoring(false)}
        />
      )}
      {branching !== null && <BranchDialog app={app} from={branching.from} onClose={() => setBranching(null)} />}
    </section>
  )
}

/** Checkpoints, and what returns have left; those that the node says it does not have any more are left out. */
function linesOf({ checkpoints, releases }: Held, data: DataState | null): readonly Line[] {
  const copies = data === null ? null : new Map(data.copies.map((copy) => [copy.name, copy]))
  const own = (name: string): number | null => copies?.get(name)?.ownBytes ?? null
  const left = releases.flatMap(({ number, report, createdAtMs }) =>
    report === null || report.branch === null
      ? []
      : [
          {
            name: report.branch,
            what: `what was live until release ${number}`,
            createdAtMs,
            ownBytes: own(report.branch),
            release: null,
          },
        ],
  )
  const made = checkpoints.map(({ name, before, by, release, createdAtMs }) => ({
    name,
    what: before === null ? `made by ${by} while release ${release} served` : `before release ${before}`,
    createdAtMs,
    ownBytes: own(name),
    release,
  }))
  return [...made, ...left]
    .filter(({ name }) => copies === null || copies.has(name))
    .toSorted((a, b) => b.createdAtMs - a.createdAtMs)
}

function MakeCheckpoint({ app, onMade }: { readonly app: string; readonly onMade: () => void }): JSX.Element {
  const [name, setName] = useState('')
  const { busy, problem, run } = useAction()
  const make = async (): Promise<void> => {
    await ask('PUT', `/api/v1/apps/${encodeURIComponent(app)}/checkpoints/${encodeURIComponent(name.trim())}`)
    setName('')
    onMade()
  }
  return (
    <form
      class="make"
      onSubmit={(event) => {
        event.preventDefault()
        if (name.trim() !== '') run(make)
      }}
    >
      <label>
        <span class="hidden">Name of the checkpoint</span>
        <input
          type="text"
          placeholder="Name"
          autocomplete="off"
          value={name}
          onInput={(event) => setName(event.currentTarget.value)}
        />
      </label>
      <button type="submit" class="button" disabled={busy || name.trim() === ''}>
        Make a checkpoint
      </button>
      <Problem words={problem} />
    </form>
  )
}

/** The disk that the data lies on. */
function Room({ data }: { readonly data: DataState }): JSX.Element {
  const { totalBytes, freeBytes, copies, driver, weaker = [] } = data
  const known = copies.flatMap(({ ownBytes }) => ownBytes ?? [])
  const own = known.reduce((sum, count) => sum + count, 0)
  const used = Math.max(0, totalBytes - freeBytes)
  const share = (count: number): string => `${totalBytes === 0 ? 0 : (100 * Math.min(count, totalBytes)) / totalBytes}%`
  const alone = known.length === 0 ? '' : `, ${bytes(own)} of it held by copies alone`
  return (
    <div class="room">
      <div class="shares-bar" aria-hidden="true">
        <i class="fill-idle" style={{ width: share(Math.max(0, used - own)) }} />
        <i class="fill-accent" style={{ width: share(own) }} />
      </div>
      <p class="quiet small">
        {`${bytes(used)} of ${bytes(totalBytes)} on the disk of the data are in use${alone} · ${driver}`}
      </p>
      {weaker.map((line) => (
        <p key={line} class="small">
          <strong class="weaker">Weaker here:</strong> {line}
        </p>
      ))}
    </div>
  )
}

interface BranchesProps {
  readonly app: string
  readonly held: Held
  readonly offers: readonly string[]
  readonly onOpen: () => void
}

function Branches({ app, held: { branches }, offers, onOpen }: BranchesProps): JSX.Element {
  const [removing, setRemoving] = useState<string | null>(null)
  const mayRemove = offers.includes('DELETE /v1/apps/:app/branches/:name')
  const remove = (): Promise<unknown> =>
    ask('DELETE', `/api/v1/apps/${encodeURIComponent(app)}/branches/${encodeURIComponent(removing ?? '')}`)
  return (
    <div class="branches">
      <header class="instances-head">
        <h3>Branches</h3>
        {offers.includes('POST /v1/apps/:app/branches') && (
          <button type="button" class="button" onClick={onOpen}>
            Open a branch
          </button>
        )}
      </header>
      {branches.length === 0 && (
        <p class="quiet small">None. A branch is the app once more, with a copy of its data, to try something on.</p>
      )}
      <ul>
        {branches.map(({ name, app: own, by, from, purpose, urls }) => (
          <li key={name}>
            <p>
              <a href={`#/${encodeURIComponent(own)}`}>
                <code>{name}</code>
              </a>{' '}
              <span class="quiet">
                {`${purpose === 'look' ? 'a look, ' : ''}by ${by}, from ${from ?? 'the data as it was'}`}
              </span>
            </p>
            <p class="branch-urls">
              {urls.map((url) => (
                <a key={url} href={url} target="_blank" rel="noopener noreferrer">
                  {url.replace(/^https?:\/\//, '')}
                </a>
              ))}
            </p>
            {mayRemove && (
              <button
                type="button"
                class="link link-risky"
                aria-label={`Remove the branch ${name}`}
                onClick={() => setRemoving(name)}
              >
                Remove
              </button>
            )}
          </li>
        ))}
      </ul>
      {removing !== null && (
        <AskDialog
          title={`Remove the branch ${removing}?`}
          no="Keep it"
          yes="Remove it"
          work={remove}
          onClose={() => setRemoving(null)}
        >
          <p>It is stopped, and what was changed in it is deleted. The copy that it was made from stays.</p>
        </AskDialog>
      )}
    </div>
  )
}
