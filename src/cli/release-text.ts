/** Rollouts and reports as lines for a terminal. */
import type { ReleaseStatus } from '../operator/index.ts'
import { describeReport, reportOf, type Rollout } from '../release/index.ts'
import { duration } from './terminal.ts'

/** The steps that are over or under way, each with its time and what it found. */
export function stepLines({ steps }: Rollout): string[] {
  return steps.flatMap(({ step, startMs, endMs, lines }) => [
    `  ${step}  ${endMs === null ? 'under way' : duration(endMs - startMs)}`,
    ...lines.map((line) => `    ${line}`),
  ])
}

/** What a return left behind, if this release is one and that was compared. */
export function reportLines(app: string, { rollout, report, graph }: ReleaseStatus): readonly string[] {
  if (rollout?.kind !== 'return' || report === null) return []
  return describeReport(
    reportOf({
      app,
      from: rollout.old ?? 0,
      to: rollout.target,
      reason: rollout.reason,
      checkpoint: report.before,
      branch: report.after,
      compared: report,
      external: graph.parts.flatMap((part) => (part.kind === 'resource' && isHosted(part.config) ? [part.name] : [])),
    }),
  )
}

/** Whether somebody else runs a resource: its data is not the platform's to take back. */
export function isHosted(config: unknown): boolean {
  return typeof config === 'object' && config !== null && 'hosted' in config
}
