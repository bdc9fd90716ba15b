/** Every rule by its own examples: the bad one fails, the good one passes, and what is mended passes too. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import {
  checkInventory,
  fixFindings,
  pageName,
  readAdvisories,
  readSources,
  rulePage,
  rules,
  rulesIndex,
} from './index.ts'
import type { CheckOptions, Rule, SourceFile, VersionsFile } from './index.ts'

const nowMs = Date.parse('2026-11-29T12:00:00Z')
const hour = 3_600_000

/** What the rules on packages read beside the input. */
const advisories = readAdvisories(
  'advisories.json',
  Buffer.from(
    JSON.stringify([
      {
        id: 'EX-2026-1',
        summary: 'reads what it should not',
        modified: '2026-11-28T00:00:00Z',
        affected: [
          {
            package: { ecosystem: 'npm', name: 'left' },
            ranges: [{ type: 'SEMVER', events: [{ introduced: '0' }, { fixed: '1.4.0' }] }],
          },
        ],
      },
    ]),
  ),
)
const tags = Array.from({ length: 32 }, (_, minor) => [`1.${minor}.0`, null] as const)
const versions: VersionsFile = {
  known: new Map([
    [
      'npm:left',
      {
        askedMs: nowMs,
        versions: new Map([
          ['1.2.0', nowMs - 9000 * hour],
          ['1.3.0', nowMs - 2 * hour],
        ]),
      },
    ],
    ['image:docker.io/library/nginx', { askedMs: nowMs, versions: new Map(tags) }],
  ]),
}
const options: CheckOptions = { standard: { level: 'restricted', version: 'latest' }, nowMs, advisories, versions }

function check(rule: Rule, source: SourceFile): ReturnType<typeof checkInventory> {
  const inventory = readSources([source], { named: true })
  assert.deepEqual(
    inventory.problems.map(({ message }) => message),
    [],
  )
  return checkInventory(inventory, options, [rule])
}

suite('rules', () => {
  for (const rule of rules) {
    test(`${rule.id}: its examples`, () => {
      const bad = check(rule, rule.bad)
      assert.ok(bad.findings.length > 0, 'the bad example does not fail')
      for (const finding of bad.findings) {
        assert.ok(finding.edits.length > 0 || finding.left !== null, 'a finding without a way out')
        assert.ok(finding.position.line >= 1 && finding.position.column >= 1)
        assert.doesNotMatch(finding.message, /\.$/, 'messages are parts of a sentence')
      }
      const good = check(rule, rule.good)
      assert.deepEqual(
        good.findings.map(({ message }) => message),
        [],
      )
      assert.ok((good.passed.get(rule.id) ?? 0) > 0, 'the good example is not looked at')
    })
  }

  test('what is mended passes, and mending it again changes nothing', () => {
    for (const rule of rules) {
      const { findings } = check(rule, rule.bad)
      for (const { source, text, mended } of fixFindings(findings).files) {
        const again = check(rule, { path: source.path, text })
        const whole = mended.every(({ left }) => left === null)
        if (whole)
          assert.deepEqual(
            again.findings.map(({ message }) => message),
            [],
            `${rule.id}:\n${text}`,
          )
        assert.deepEqual(fixFindings(again.findings).files, [])
      }
    }
  })

  test('ids are unique and of one form, references are addresses', () => {
    assert.equal(new Set(rules.map(({ id }) => id)).size, rules.length)
    for (const { id, reference, title, reason } of rules) {
      assert.match(id, /^(?:pod-security|security|availability|cost|vendor|complexity|dependencies)\.[a-z0-9-]+$/)
      assert.match(reference, /^https:\/\//)
      assert.doesNotMatch(title, /\.$/)
      assert.match(reason, /\.$/)
    }
  })

  test('docs/rules says what the rules say', () => {
    const directory = join(import.meta.dirname, '..', '..', 'docs', 'rules')
    const read = (name: string): string => readFileSync(join(directory, name), 'utf8')
    const hint = 'run scripts/node scripts/rule-pages.ts'
    assert.deepEqual(readdirSync(directory).sort(), ['README.md', ...rules.map(pageName)].sort(), hint)
    for (const rule of rules) assert.equal(read(pageName(rule)), rulePage(rule), hint)
    assert.equal(read('README.md'), rulesIndex(rules), hint)
  })
})
