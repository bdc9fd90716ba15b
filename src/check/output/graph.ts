/** What a drawn graph of a Stead app shows: findings, single points of failure and uptime, as plain data by part. */
import type { Json } from '../../base/index.ts'
import { uptimeOf } from '../availability/uptime.ts'
import { checkInventory } from '../findings.ts'
import { emptyInventory } from '../inventory.ts'
import { readSteadApp } from '../readers/stead.ts'
import type { CheckOptions } from '../rules/rule.ts'
import type { SourceFile } from '../source.ts'
import { uptimeJson } from './json.ts'

export interface GraphReport {
  readonly findings: readonly {
    readonly rule: string
    readonly severity: string
    /** Name of the part. */
    readonly part: string
    readonly message: string
    readonly left: string | null
  }[]
  /** Names of parts that alone take a way in down. */
  readonly singlePointsOfFailure: readonly string[]
  /** Expected availability of the worst way in; null when there is none. */
  readonly availability: number | null
  readonly uptime: Json
}

/** Checks the graph of an app. `appFile`: where places are looked up; its text may be empty. */
export function checkGraph(
  graph: Json,
  options: CheckOptions,
  appFile: SourceFile = { path: 'app.ts', text: '' },
): GraphReport {
  const inventory = emptyInventory()
  readSteadApp(appFile, graph, inventory)
  const uptime = uptimeOf(inventory)
  const alone = new Set(uptime.entries.flatMap(({ singles }) => singles.map(({ label }) => label)))
  const figures = uptime.entries.map(({ availability }) => availability)
  return {
    findings: checkInventory(inventory, options).findings.map(({ rule, severity, subject, message, left }) => ({
      rule: rule.id,
      severity,
      part: subject.name,
      message,
      left,
    })),
    singlePointsOfFailure: inventory.workloads.map(({ name }) => name).filter((name) => alone.has(name)),
    availability: figures.length === 0 ? null : Math.min(...figures),
    uptime: uptimeJson(uptime),
  }
}
