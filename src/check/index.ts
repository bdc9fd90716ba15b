/** The face of `check`: what is wrong with a design, before it runs. Pure: texts and graphs come in, findings and texts go out. */

// Inputs.
export { decodeSource, fileBytesMax, formatPosition, positionOf, tooLarge } from './source.ts'
export type { Place, Position, Problem, SourceFile } from './source.ts'
export { readSource, readSources } from './readers/read.ts'
export type { ReadOptions } from './readers/read.ts'
export { readSteadApp } from './readers/stead.ts'
export { describeSubject, emptyInventory } from './inventory.ts'
export type { Inventory, Platform, Subject, Workload } from './inventory.ts'

// Pod security.
export { admit, describeViolations, violations } from './pod-security/evaluate.ts'
export type { Admission, Violation } from './pod-security/evaluate.ts'
export {
  formatLevelVersion,
  mostStrict,
  newestMinor,
  parseLevel,
  parseVersion,
  policyOf,
} from './pod-security/versions.ts'
export type { Level, LevelVersion, NamespacePolicy, Version } from './pod-security/versions.ts'
export type { Container, Pod } from './pod.ts'

// Rules and findings.
export { chooseRules, ruleById, rules } from './rules/registry.ts'
export { causes, severities } from './rules/rule.ts'
export type { Category, CheckOptions, Rule, Severity } from './rules/rule.ts'
export { checkInventory } from './findings.ts'
export type { Finding, Group, Report, Unknown } from './findings.ts'
export { readBaseline, readSuppressions, writeBaseline } from './suppressions.ts'
export type { Suppression } from './suppressions.ts'
export { fixFindings } from './fix/fix.ts'
export type { Fixed, FixResult } from './fix/fix.ts'
export { unifiedDiff } from './fix/diff.ts'

// Outputs.
export { outcomeOf, verdictOf } from './output/outcome.ts'
export type { Outcome, OutcomeOptions } from './output/outcome.ts'
export { explainText, reportText } from './output/text.ts'
export type { TextOptions } from './output/text.ts'
export { plainPaint } from './output/paint.ts'
export type { Paint } from './output/paint.ts'
export { costText, formatAvailability, formatSeconds, uptimeText } from './output/figures.ts'
export { costJson, reportJson, uptimeJson } from './output/json.ts'
export { checkGraph } from './output/graph.ts'
export type { GraphReport } from './output/graph.ts'
export { reportSarif } from './output/sarif.ts'

// Availability.
export {
  availabilityOf,
  downtimeSecondsPerYear,
  inParallel,
  inSeries,
  kOfN,
  ninesOf,
  sharedCause,
} from './availability/formulas.ts'
export { all, atLeast, availability, cutSets, part, partsOf } from './availability/structure.ts'
export type { CutSets, Part, Structure } from './availability/structure.ts'
export { budgetSeconds, burnAlerts, burnRate, fires, secondsToFire } from './availability/budgets.ts'
export type { BurnAlert, WindowCount } from './availability/budgets.ts'
export { assume, assumptions } from './availability/assumptions.ts'
export type { Assumptions, PartKind } from './availability/assumptions.ts'
export type { Beside } from './availability/design.ts'
export { pointsOfFailure, uptimeOf } from './availability/uptime.ts'
export type { EntryUptime, Improvement, UptimeOptions, UptimeReport } from './availability/uptime.ts'

// Cost.
export { builtInPrices } from './cost/prices.ts'
export { mergeTables, ownMachinePerMonth, parsePrices } from './cost/table.ts'
export type { OwnMachine, Price, PriceTable } from './cost/table.ts'
export { costChange, estimate, usageOf } from './cost/estimate.ts'
export type { CostReport, CostSum, Usage } from './cost/estimate.ts'
export { readPriorState } from './readers/terraform.ts'
export { leavingEffort } from './vendor.ts'
export type { Effort, Leaving } from './vendor.ts'

// Packages and versions.
export { readAdvisories } from './packages/advisories.ts'
export type { Advisories, Advisory } from './packages/advisories.ts'
export { sbomOf } from './packages/sbom.ts'
export { noVersions, readVersionsFile, writeVersionsFile } from './versions/file.ts'
export type { KnownVersions, VersionsFile } from './versions/file.ts'
export { usedVersions, versionRows } from './versions/report.ts'
export type { UsedVersion, VersionRow } from './versions/report.ts'

// The design as a whole.
export { complexityOf } from './complexity.ts'
export type { Complexity } from './complexity.ts'
export { readYaml } from './yaml.ts'

// Documentation.
export { pageName, rulePage, rulesIndex } from './output/page.ts'
