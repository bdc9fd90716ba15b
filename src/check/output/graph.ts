/** What a drawn graph of a Stead app shows: findings, single points of failure and uptime, as plain data by part. */
import type { Json } from '../../base/index.ts'
import { downtimeSecondsPerYear } from '../availability/formulas.ts'
import { uptimeOf } from '../availability/uptime.ts'
import type { UptimeOptions } from '../availability/uptime.ts'
import { checkInventory } from '../findings.ts'
import { emptyInventory } from '../inventory.ts'
import { readSteadApp } from '../readers/stead.ts'
import { causes } from '../rules/rule.ts'
import type { CheckOptions, Severity } from '../rules/rule.ts'
import type { SourceFile } from '../source.ts'
import { uptimeJson } from './json.ts'

export interface GraphReport {
  readonly findings: readonly {
    readonly rule: string
    readonly severity: Severity
    /** The root cause, as a heading. */
    readonly cause: string
    /** What the rule asks for, and why it matters. */
    readonly title: string
    readonly reason: string
    /** Name of the part. */
    readonly part: string
    readonly message: string
    readonly left: string | null
  }[]
  /** Names of parts that alone take a way in down. */
  readonly singlePointsOfFailure: readonly string[]
  /** What is no part, and alone takes a way in down: `the machine`, `name resolution`. */
  readonly beneath: readonly string[]
  /** Expected availability of the worst way in; null when there is none. */
  readonly availability: number | null
  readonly downtimeSecondsPerYear: number | null
  readonly uptime: Json
}

/**
 * Checks the graph of an app. `appFile`: where places are looked up; its text may be empty. Throws `check.too-complex` for a
 * graph whose availability cannot be worked out exactly.
 */
export function checkGraph(
  graph: Json,
  options: CheckOptions,
  appFile: SourceFile = { path: 'app.ts', text: '' },
  uptimeOptions: UptimeOptions = {},
): GraphReport {
  const inventory = emptyInventory()
  readSteadApp(appFile, graph, inventory)
  const uptime = uptimeOf(inventory, uptimeOptions)
  const singles = uptime.entries.flatMap((entry) => entry.singles)
  const alone = new Set(singles.filter(({ kind }) => kind === 'instance').map(({ label }) => label))
  const figures = uptime.entries.map(({ availability }) => availability)
  const availability = figures.length === 0 ? null : Math.min(...figures)
  return {
    findings: checkInventory(inventory, options).findings.map(({ rule, severity, subject, message, left }) => ({
      rule: rule.id,
      severity,
      cause: causes[rule.cause],
      title: rule.title,
      reason: rule.reason,
      part: subject.name,
      message,
      left,
    })),
    singlePointsOfFailure: inventory.workloads.map(({ name }) => name).filter((name) => alone.has(name)),
    beneath: [...new Set(singles.filter(({ kind }) => kind !== 'instance').map(({ label }) => label))],
    availability,
    downtimeSecondsPerYear: availability === null ? null : downtimeSecondsPerYear(availability),
    uptime: uptimeJson(uptime),
  }
}
