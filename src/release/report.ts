/**
 * The report of a return: what is left behind, what the world has seen of it, and what can be done about each. Data first,
 * lines from it. Invariant: everything that was found is in the data; the lines shorten, and say by how much.
 */

/** What has happened to a table, queue or bucket from the checkpoint to the branch. */
export interface ReportedChange {
  readonly part: string
  readonly name: string
  readonly added: number
  readonly removed: number
  readonly changed: number
  /** False: what was added cannot be brought back by itself. */
  readonly replayable?: false
}

/** An effect on the outside world that the data does not remember any more, but for the ledger that was carried over. */
export interface ReportedEffect {
  readonly part: string
  readonly key: string
  readonly what: string
  readonly state: 'sent' | 'possibly-sent'
  readonly compensation: string | null
  readonly timeMs: number
}

/** What was compared: the checkpoint that the data went back to, with what was live. */
export interface Compared {
  readonly changes: readonly ReportedChange[]
  readonly effects: readonly ReportedEffect[]
  readonly exact: boolean
  readonly gaps: readonly string[]
}

export interface ReportOptions {
  readonly app: string
  /** The release that was left. */
  readonly from: number
  /** The release that was gone back to. */
  readonly to: number
  /** Why the platform went back by itself; null: somebody asked for it. */
  readonly reason: string | null
  readonly checkpoint: string
  /** Null in a preview: nothing has been left yet. */
  readonly branch: string | null
  readonly compared: Compared
  /** Stores outside the domain, which keep what was written to them: names of parts. */
  readonly external: readonly string[]
}

/** A table, queue or bucket with what is left behind in it. Rows, messages and objects alike. */
export interface LeftBehind {
  readonly part: string
  readonly name: string
  /** Made since the checkpoint: they are only in the branch. */
  readonly inserted: number
  /** Changed since: they have their old content again. */
  readonly updated: number
  /** Deleted since: they are there again. */
  readonly deleted: number
  /** Brings the inserted ones into the live data; null where there are none, no branch yet, or no way to do so. */
  readonly replay: string | null
}

/** The report as data, stable for programs. */
export interface Report {
  readonly version: 1
  readonly app: string
  readonly from: number
  readonly to: number
  readonly reason: string | null
  readonly checkpoint: string
  readonly branch: string | null
  /** False: some of it was only counted. */
  readonly exact: boolean
  readonly left: readonly LeftBehind[]
  readonly sent: readonly ReportedEffect[]
  readonly possiblySent: readonly ReportedEffect[]
  readonly external: readonly string[]
  readonly gaps: readonly string[]
}

/** Entries of one kind that are shown as lines; all are in the data. */
const shownMax = 20

/** Puts the report together. Sorted: tables by part and name, effects by time. */
export function reportOf({ compared, external, ...about }: ReportOptions): Report {
  const left = compared.changes
    .filter(({ added, removed, changed }) => added + removed + changed > 0)
    .toSorted((a, b) => order(a.part, b.part) || order(a.name, b.name))
    .map(({ part, name, added, removed, changed, replayable = true }): LeftBehind => ({
      part,
      name,
      inserted: added,
      updated: changed,
      deleted: removed,
      replay: added > 0 && replayable && about.branch !== null ? `stead replay ${about.branch} ${part} ${name}` : null,
    }))
  const effects = compared.effects.toSorted((a, b) => a.timeMs - b.timeMs)
  return {
    version: 1,
    ...about,
    exact: compared.exact,
    left,
    sent: effects.filter((effect) => effect.state === 'sent'),
    possiblySent: effects.filter((effect) => effect.state === 'possibly-sent'),
    external: external.toSorted(order),
    gaps: compared.gaps,
  }
}

/** The report as lines for a terminal. Before the return (no branch yet) it says what would be. */
export function describeReport(report: Report): readonly string[] {
  const { branch, reason } = report
  const preview = branch === null
  const head = preview
    ? `Going back from release ${report.from} to ${report.to}, with the data of ${report.checkpoint}:`
    : `Gone back from release ${report.from} to ${report.to}, with the data of ${report.checkpoint}${reason === null ? '' : `, because: ${reason}`}.`
  return [
    head,
    ...leftLines(report.left, preview),
    ...effectLines('Sent, and not undone by going back', report.sent),
    ...effectLines('Possibly sent: ask whoever got it', report.possiblySent),
    ...listed('Not in the data of the app, so it stays as it is', report.external),
    ...listed(report.exact ? 'Not compared' : 'Counted, not compared', report.gaps),
    ...(preview
      ? []
      : [
          `Everything as it was until then is in the branch ${branch}: \`stead branch NAME --from ${branch}\` opens it.`,
        ]),
  ]
}

function leftLines(left: readonly LeftBehind[], preview: boolean): string[] {
  if (left.length === 0) return [preview ? 'Nothing has been written since.' : 'Nothing was written since.']
  const title = preview ? 'Would be left behind' : 'Left behind'
  const lines = left.map(({ part, name, inserted, updated, deleted, replay }) => {
    const counts = [count(inserted, 'inserted'), count(updated, 'updated'), count(deleted, 'deleted')]
    return `${part} ${name}: ${counts.filter((text) => text !== '').join(', ')}${replay === null ? '' : `; \`${replay}\` brings the inserted ones back`}`
  })
  return listed(title, lines)
}

function effectLines(title: string, effects: readonly ReportedEffect[]): string[] {
  const lines = effects.map(({ part, key, what, compensation, timeMs }) => {
    const remedy = compensation === null ? 'no compensation was given' : `to undo it: ${compensation}`
    return `${new Date(timeMs).toISOString()} ${part} ${key}: ${what}; ${remedy}`
  })
  return listed(title, lines)
}

function listed(title: string, lines: readonly string[]): string[] {
  if (lines.length === 0) return []
  const more = lines.length > shownMax ? [`  and ${lines.length - shownMax} more`] : []
  return [`${title}:`, ...lines.slice(0, shownMax).map((line) => `  ${line}`), ...more]
}

function count(number: number, what: string): string {
  return number === 0 ? '' : `${number} ${what}`
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
