/**
 * Checks the design of a running app, for whoever looks at it. Invariants: the room `check` is loaded when the first one asks,
 * so that a platform nobody looks at does not carry it; a release is checked once; an answer is bounded however many findings there are.
 */
import { systemClock } from '../../base/index.ts'
import type { Json } from '../../base/index.ts'
import type { GraphReport } from '../../check/index.ts'
import type { Graph } from '../../model/index.ts'
import type { Checkup, CheckupCause, CheckupFinding } from '../../operator/index.ts'

/** Most findings of one cause, and most names and most letters of one finding. */
const findingsMax = 20
const partsMax = 20
const lettersMax = 500

type Found = GraphReport['findings'][number]

/** The last checkup of each app. */
export class Checkups {
  readonly #kept = new Map<string, { readonly release: number; readonly checkup: Promise<Checkup> }>()

  /** Throws `check.too-complex`. */
  of(app: string, release: number, graph: Graph): Promise<Checkup> {
    const kept = this.#kept.get(app)
    if (kept?.release === release) return kept.checkup
    const checkup = checkupOf(release, graph)
    this.#kept.set(app, { release, checkup })
    return checkup
  }

  forget(app: string): void {
    this.#kept.delete(app)
  }
}

async function checkupOf(release: number, graph: Graph): Promise<Checkup> {
  const { checkGraph, mostStrict } = await import('../../check/index.ts')
  const json = JSON.parse(JSON.stringify(graph)) as Json
  const options = { standard: mostStrict, nowMs: systemClock.nowMs() }
  const report = checkGraph(json, options, undefined, { brief: true })
  return {
    release,
    availability: report.availability,
    downtimeSecondsPerYear: report.downtimeSecondsPerYear,
    singlePointsOfFailure: report.singlePointsOfFailure,
    beneath: report.beneath,
    causes: causesOf(report.findings),
  }
}

/** The worst findings come first, and so do the causes they have. */
function causesOf(findings: readonly Found[]): readonly CheckupCause[] {
  return [...Map.groupBy(findings, ({ cause }) => cause)].map(([title, members]) => {
    const same = Map.groupBy(members, ({ rule, message, left }) => JSON.stringify([rule, message, left]))
    const told = [...same.values()].flatMap((alike) => (alike[0] === undefined ? [] : [findingOf(alike[0], alike)]))
    return {
      title,
      severity: members[0]?.severity ?? 'low',
      findings: told.slice(0, findingsMax),
      more: Math.max(0, told.length - findingsMax),
    }
  })
}

function findingOf({ rule, severity, message, reason, title, left }: Found, alike: readonly Found[]): CheckupFinding {
  const parts = [...new Set(alike.map(({ part }) => part))]
  return {
    rule,
    severity,
    message: short(message),
    reason: short(reason),
    advice: short(left ?? title),
    parts: parts.slice(0, partsMax),
    moreParts: Math.max(0, parts.length - partsMax),
  }
}

function short(text: string): string {
  return text.length <= lettersMax ? text : `${text.slice(0, lettersMax - 2)} …`
}
