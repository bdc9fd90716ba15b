/**
 * What every sandbox driver must do, as tests of node:test. For drivers outside this repository as well: call
 * `sandboxConformance` in a test file. Cases are decided by the driver's own capabilities: what it holds is proven, what
 * it refuses must be refused. Programs are plain `sh`.
 *
 * Invariants: no case depends on the speed of the machine; every wait is bounded; nothing is left behind.
 */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { Bench, waitMs } from './bench.conformance.ts'
import type { ConformanceCase, ConformanceSetup } from './bench.conformance.ts'
import { classCases } from './classes.conformance.ts'
import { execCases } from './exec.conformance.ts'
import { limitCases } from './limits.conformance.ts'
import { programCases } from './program.conformance.ts'
import { recordCases } from './records.conformance.ts'
import { rootCases } from './root.conformance.ts'

const cases: readonly ConformanceCase[] = [
  ...programCases,
  ...limitCases,
  ...classCases,
  ...recordCases,
  ...execCases,
  ...rootCases,
]

/** Registers the cases for a driver. */
export function sandboxConformance(setup: ConformanceSetup): void {
  suite(`sandbox conformance: ${setup.name}`, { skip: setup.skip }, () => {
    const bench = new Bench(setup)
    before(() => bench.open())
    after(() => bench.close())
    const titles = new Set(cases.map(([title]) => title))
    for (const title of Object.keys(setup.skips ?? {})) assert.ok(titles.has(title), `no case is called ${title}`)
    for (const [title, run] of cases) {
      test(title, { skip: setup.skips?.[title] ?? false, timeout: 4 * waitMs }, () => run(bench))
    }
  })
}
