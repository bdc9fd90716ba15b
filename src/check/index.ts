/** The face of `check`: what is wrong with a design, before it runs. Pure: texts and graphs come in, findings and texts go out. */

// Inputs.
export { decodeSource, fileBytesMax, formatPosition, positionOf } from './source.ts'
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
export { ruleById, rules } from './rules/registry.ts'
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
export type { Paint, TextOptions } from './output/text.ts'
export { reportJson } from './output/json.ts'
export { reportSarif } from './output/sarif.ts'
