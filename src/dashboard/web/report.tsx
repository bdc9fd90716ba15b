/** What a return has left behind, or would: tables with their rows, what the world has seen, and what nobody compared. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { LeftBehind, Report, ReportedEffect } from '../../release/index.ts'
import { AskDialog } from './actions.tsx'
import { BranchDialog } from './branch-dialog.tsx'
import { ask } from './session.ts'
import { counted } from './words.ts'

export interface ReportViewProps {
  readonly app: string
  readonly report: Report
  /** Whether rows may be brought back, and a branch be opened. */
  readonly mayReplay: boolean
  readonly mayBranch: boolean
}

export function ReportView({ app, report, mayReplay, mayBranch }: ReportViewProps): JSX.Element {
  const { left, sent, possiblySent, external, gaps, exact, branch, from, checkpoint } = report
  const [opening, setOpening] = useState(false)
  return (
    <section class="report">
      <h3>{left.length === 0 ? 'Nothing was left behind' : 'Left behind'}</h3>
      <p class="quiet small">
        {`What was written with release ${from} since the checkpoint ${checkpoint}${branch === null ? '.' : `. All of it is kept as ${branch}.`}`}
      </p>
      {left.length > 0 && <LeftTable app={app} left={left} branch={mayReplay ? branch : null} />}
      <Effects title="Sent, and not undone by going back" effects={sent} />
      <Effects title="Possibly sent: ask whoever got it" effects={possiblySent} />
      <Sentences title="Not in the data of the app, so it stays as it is" lines={external} />
      <Sentences title={exact ? 'Not compared' : 'Counted, not compared'} lines={gaps} />
      {branch !== null && mayBranch && (
        <div class="buttons">
          <button type="button" class="button" onClick={() => setOpening(true)}>
            {`Open ${branch} as a branch`}
          </button>
        </div>
      )}
      {opening && branch !== null && <BranchDialog app={app} from={branch} onClose={() => setOpening(false)} />}
    </section>
  )
}

interface LeftTableProps {
  readonly app: string
  readonly left: readonly Pick<LeftBehind, 'part' | 'name' | 'inserted' | 'updated' | 'deleted' | 'replay'>[]
  /** The copy from which rows can be brought back; null: they cannot. */
  readonly branch: string | null
}

export function LeftTable({ app, left, branch }: LeftTableProps): JSX.Element {
  return (
    <div class="table-room table-inside">
      <table>
        <thead>
          <tr>
            <th scope="col">Table</th>
            <th scope="col" class="right">
              Inserted
            </th>
            <th scope="col" class="right">
              Updated
            </th>
            <th scope="col" class="right">
              Deleted
            </th>
            {branch !== null && (
              <th scope="col">
                <span class="hidden">Bring back</span>
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {left.map(({ part, name, inserted, updated, deleted, replay }) => (
            <tr key={`${part} ${name}`}>
              <th scope="row">
                <span class="left-name">
                  <span class="quiet">{part}</span> {name}
                </span>
              </th>
              <td class="right number" data-label="Inserted">
                {inserted}
              </td>
              <td class="right number" data-label="Updated">
                {updated}
              </td>
              <td class="right number" data-label="Deleted">
                {deleted}
              </td>
              {branch !== null && (
                <td class="right left-action">
                  {replay !== null && <Replay app={app} branch={branch} part={part} table={name} rows={inserted} />}
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

interface ReplayProps {
  readonly app: string
  readonly branch: string
  readonly part: string
  readonly table: string
  readonly rows: number
}

function Replay({ app, branch, part, table, rows }: ReplayProps): JSX.Element {
  const [asking, setAsking] = useState(false)
  const [brought, setBrought] = useState<number | null>(null)
  const replay = async (): Promise<void> => {
    const wish = { from: branch, part, table, where: null }
    const answer = await ask('POST', `/api/v1/apps/${encodeURIComponent(app)}/replay`, wish)
    setBrought(((await answer.json()) as { readonly rows: number }).rows)
  }
  if (brought !== null) return <span role="status">{`${counted(brought, 'row')} brought back`}</span>
  return (
    <>
      <button
        type="button"
        class="link"
        aria-label={`Bring the inserted rows of ${part} ${table} back`}
        onClick={() => setAsking(true)}
      >
        Bring them back
      </button>
      {asking && (
        <AskDialog
          title={`Bring ${counted(rows, 'row')} of ${table} back?`}
          no="Leave them"
          yes="Bring them back"
          risky={false}
          work={replay}
          onClose={() => setAsking(false)}
        >
          <p>{`The rows of ${table} that are only in ${branch} are put into the live data. What is there already stays as it is.`}</p>
        </AskDialog>
      )}
    </>
  )
}

function Effects({
  title,
  effects,
}: {
  readonly title: string
  readonly effects: readonly ReportedEffect[]
}): JSX.Element | null {
  if (effects.length === 0) return null
  return (
    <div class="report-part">
      <h3>{title}</h3>
      <ul class="effects">
        {effects.map(({ part, key, what, compensation, timeMs }) => (
          <li key={`${part} ${key}`}>
            <p>
              {what} <span class="quiet">{`${part} ${key}, ${new Date(timeMs).toLocaleString()}`}</span>
            </p>
            <p class={compensation === null ? 'quiet' : 'advice'}>{compensation ?? 'No compensation was given.'}</p>
          </li>
        ))}
      </ul>
    </div>
  )
}

export function Sentences({
  title,
  lines,
}: {
  readonly title: string
  readonly lines: readonly string[]
}): JSX.Element | null {
  if (lines.length === 0) return null
  return (
    <div class="report-part">
      <h3>{title}</h3>
      <ul class="sentences">
        {lines.map((line) => (
          <li key={line}>{line}</li>
        ))}
      </ul>
    </div>
  )
}
