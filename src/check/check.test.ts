/** What comes of a check: exceptions, baselines, outputs, packages, versions, cost; and the whole on real inputs where they are. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { suite, test } from 'node:test'
import { deflateRawSync } from 'node:zlib'
import { dataDir, needsData } from '../../test/data.ts'
import {
  builtInPrices,
  causes,
  checkInventory,
  complexityOf,
  costChange,
  costText,
  estimate,
  explainText,
  fixFindings,
  mergeTables,
  mostStrict,
  noVersions,
  outcomeOf,
  ownMachinePerMonth,
  parsePrices,
  plainPaint,
  readAdvisories,
  readBaseline,
  readPriorState,
  readSources,
  readSuppressions,
  readVersionsFile,
  readYaml,
  reportJson,
  reportSarif,
  reportText,
  rules,
  sbomOf,
  usageOf,
  usedVersions,
  verdictOf,
  versionRows,
  violations,
  writeBaseline,
  writeVersionsFile,
} from './index.ts'
import type { Inventory, Outcome, OutcomeOptions, SourceFile } from './index.ts'

const nowMs = Date.parse('2026-11-29T12:00:00Z')
const text =
  'apiVersion: v1\nkind: Pod\nmetadata: { name: web, namespace: shop }\nspec:\n  containers:\n    - name: web\n      image: nginx\n'

function read(source: string, path = 'web.yaml'): Inventory {
  return readSources([{ path, text: source }], { named: true })
}

function outcome(more: Partial<OutcomeOptions> = {}, source = text): Outcome {
  const report = checkInventory(read(source), { standard: mostStrict, nowMs })
  return outcomeOf(report, {
    suppressions: [],
    baseline: new Set(),
    failOn: 'high',
    nowMs,
    files: 1,
    notes: [],
    uptime: null,
    cost: null,
    complexity: null,
    ...more,
  })
}

suite('exceptions and baselines', () => {
  const entry = (more: string): string =>
    `suppressions:\n  - rule: security.image-not-pinned\n    object: Pod shop/*\n    reason: the newest is wanted\n    owner: ops@example.com\n${more}`

  test('an exception counts up to and with its day, for its rule and object', () => {
    const until = (day: string): ReturnType<typeof readSuppressions> =>
      readSuppressions({ path: 'stead-check.yaml', text: entry(`    until: ${day}\n`) }, nowMs)
    const accepted = outcome({ suppressions: until('2026-11-29') })
    assert.deepEqual(
      accepted.suppressed.map(({ finding }) => finding.rule.id),
      ['security.image-not-pinned'],
    )
    assert.equal(verdictOf(accepted), 'passed')
    const ended = outcome({ suppressions: until('2026-11-28') })
    assert.equal(ended.suppressed.length, 0)
    assert.equal(ended.ended.length, 1)
    assert.equal(verdictOf(ended), 'failed')
    const other = outcome({
      suppressions: readSuppressions(
        { path: 's.yaml', text: entry('    until: 2027-01-01\n').replace('Pod shop/*', 'Pod other/*') },
        nowMs,
      ),
    })
    assert.equal(other.unused.length, 1)
  })

  test('an exception without reason, owner or end is refused with its place', () => {
    for (const missing of ['reason', 'owner', 'until', 'rule']) {
      const source = entry('    until: 2027-01-01\n')
        .split('\n')
        .filter((line) => !line.includes(`${missing}:`))
        .join('\n')
        .replace(/^ {4}object/m, missing === 'rule' ? '  - object' : '    object')
      assert.throws(() => readSuppressions({ path: 's.yaml', text: source }, nowMs), {
        code: 'check.bad-suppressions',
        message: /^s\.yaml:2:5: /,
      })
    }
    for (const until of ['soon', '2026-13-01', '2036-01-01'])
      assert.throws(() => readSuppressions({ path: 's.yaml', text: entry(`    until: ${until}\n`) }, nowMs), {
        code: 'check.bad-suppressions',
      })
  })

  test('what was there before does not count, also after a move in its file', () => {
    const first = outcome()
    assert.equal(verdictOf(first), 'failed')
    const baseline = readBaseline({ path: 'b.json', text: writeBaseline(first.open) })
    const second = outcome({ baseline }, `# moved\n\n${text}`)
    assert.equal(second.open.length, 0)
    assert.equal(second.known.length, first.open.length)
    assert.throws(() => readBaseline({ path: 'b.json', text: '{' }), { code: 'check.bad-baseline' })
  })
})

suite('outputs', () => {
  test('text is grouped by cause, says what is unknown, and how much was looked at', () => {
    const lines = reportText(outcome(), { all: false, paint: plainPaint })
    assert.match(lines, /^HIGH {2}What runs is not pinned/)
    assert.match(lines, /web\.yaml:7:7 {2}Pod shop\/web: nginx can be another image tomorrow/)
    assert.match(lines, /mend with --fix/)
    assert.match(lines, /\d+ rules found something to look at; \d+ did not, and say nothing/)
    assert.match(explainText(rules[0] ?? assert.fail(), plainPaint), /fails[\s\S]+passes/)
  })

  test('JSON holds the same, and nothing that JSON cannot hold', () => {
    const value = reportJson(outcome())
    assert.deepEqual(JSON.parse(JSON.stringify(value)), value)
    assert.equal(Object(value).verdict, 'failed')
  })

  test('SARIF: kinds, fingerprints, and fixes that make the text that --fix makes', () => {
    const found = outcome()
    const sarif = Object(JSON.parse(JSON.stringify(reportSarif(found, '1.0.0'))))
    const [run] = sarif.runs
    assert.equal(sarif.version, '2.1.0')
    const lines = text.split('\n')
    const offset = (line: number, column: number): number =>
      lines.slice(0, line - 1).reduce((sum, part) => sum + part.length + 1, 0) + column - 1
    let fixes = 0
    for (const result of run.results) {
      assert.equal(run.tool.driver.rules[result.ruleIndex].id, result.ruleId)
      for (const fix of result.fixes ?? []) {
        const [change] = fix.artifactChanges
        assert.ok(change.replacements.length > 0)
        let changed = text
        for (const { deletedRegion: region, insertedContent } of change.replacements.toReversed())
          changed =
            changed.slice(0, offset(region.startLine, region.startColumn)) +
            insertedContent.text +
            changed.slice(offset(region.endLine, region.endColumn))
        const only = found.open.filter(({ rule }) => rule.id === result.ruleId)
        assert.equal(changed, fixFindings(only).files[0]?.text)
        fixes++
      }
    }
    assert.ok(fixes >= 4)
  })
})

suite('packages and versions', () => {
  const lock = JSON.stringify({
    name: 'web',
    lockfileVersion: 3,
    packages: {
      '': {},
      'node_modules/@a/b': { version: '1.2.3', integrity: `sha512-${'A'.repeat(86)}==`, license: 'MIT' },
      'node_modules/dev': { version: '1.0.0', dev: true },
    },
  })
  const record = (more: object): string =>
    JSON.stringify({
      id: 'X-1',
      modified: '2026-11-20T00:00:00Z',
      affected: [{ package: { ecosystem: 'npm', name: '@a/b' }, ...more }],
    })
  const ranged = record({
    ranges: [
      {
        type: 'SEMVER',
        events: [{ introduced: '1.0.0' }, { fixed: '1.2.0' }, { introduced: '1.2.3-rc.1' }, { last_affected: '1.2.3' }],
      },
    ],
  })

  function zip(name: string, content: string): Uint8Array {
    const data = deflateRawSync(content)
    const entry = (signature: number, skip: number): Buffer => {
      const head = Buffer.alloc(skip)
      head.writeUInt32LE(signature)
      return head
    }
    const local = entry(0x04034b50, 30)
    local.writeUInt16LE(name.length, 26)
    const central = entry(0x02014b50, 46)
    central.writeUInt16LE(8, 10)
    central.writeUInt32LE(data.length, 20)
    central.writeUInt32LE(content.length, 24)
    central.writeUInt16LE(name.length, 28)
    const end = entry(0x06054b50, 22)
    end.writeUInt16LE(1, 10)
    end.writeUInt32LE(local.length + name.length + data.length, 16)
    return Buffer.concat([local, Buffer.from(name), data, central, Buffer.from(name), end])
  }

  test('advisories: lists, lines, archives; ranges as the format has them', () => {
    const bundles = [
      Buffer.from(`[${ranged}]`),
      Buffer.from(`${ranged}\n${ranged}\n`),
      Buffer.from(ranged),
      zip('X-1.json', ranged),
    ]
    for (const bytes of bundles) {
      const found = readAdvisories('a', bytes)
      const affected = ['0.9.0', '1.0.0', '1.1.9', '1.2.0', '1.2.2', '1.2.3-rc.1', '1.2.3', '1.2.4'].filter(
        (version) => found.find('npm', '@a/b', version).length > 0,
      )
      assert.deepEqual(affected, ['1.0.0', '1.1.9', '1.2.3-rc.1', '1.2.3'])
      assert.equal(found.find('PyPI', '@a/b', '1.0.0').length, 0)
      assert.equal(new Date(found.newestMs).toISOString(), '2026-11-20T00:00:00.000Z')
    }
    for (const bad of ['{', '[{}]'])
      assert.throws(() => readAdvisories('a', Buffer.from(bad)), { code: 'check.bad-advisories' })
    assert.throws(() => readAdvisories('a', Buffer.from('PK broken')), { code: 'check.bad-advisories' })
  })

  test('old advisories leave it unknown', () => {
    const advisories = readAdvisories('a', Buffer.from(record({ versions: ['9.9.9'] })))
    const at = (ms: number): string => {
      const report = checkInventory(
        read(lock, 'package-lock.json'),
        { standard: mostStrict, nowMs: ms, advisories },
        rules.filter(({ id }) => id === 'dependencies.known-vulnerability'),
      )
      return report.unknowns.length > 0 ? 'unknown' : report.findings.length > 0 ? 'fail' : 'pass'
    }
    assert.equal(at(nowMs), 'pass')
    assert.equal(at(nowMs + 90 * 86_400_000), 'unknown')
  })

  test('a bill of materials: packages that ship, and images, the same every time', () => {
    const inventory = readSources(
      [
        { path: 'package-lock.json', text: lock },
        { path: 'web.yaml', text },
      ],
      { named: true },
    )
    const bill = Object(sbomOf(inventory, 'shop', '1.0.0'))
    assert.equal(bill.bomFormat, 'CycloneDX')
    assert.deepEqual(
      Array.from(bill.components, ({ purl }) => purl),
      ['pkg:npm/%40a/b@1.2.3', 'pkg:oci/nginx?repository_url=docker.io%2Flibrary%2Fnginx'],
    )
    assert.match(bill.components[0].hashes[0].content, /^0{128}$/)
    assert.deepEqual(sbomOf(inventory, 'shop', '1.0.0'), bill)
  })

  test('versions: flavours are kept apart, releases before a release are none, nothing asked is unknown', () => {
    const services = ['postgres:17.2-alpine', 'redis:8.0.1', 'nginx:1.29', 'web:latest', 'quay.io/o/p:v2.1.0'].map(
      (image, index) => `  s${index}: { image: "${image}" }`,
    )
    const used = usedVersions(read(`services:\n${services.join('\n')}\n`, 'compose.yaml'))
    const known = (...tags: readonly string[]): { askedMs: number; versions: Map<string, null> } => ({
      askedMs: nowMs,
      versions: new Map(tags.map((tag) => [tag, null])),
    })
    const file = {
      known: new Map([
        [
          'image:docker.io/library/postgres',
          known('17.2', '18.1', '17.2-alpine', '17.3-alpine', '18.1-alpine', '19beta1'),
        ],
        ['image:docker.io/library/redis', known('8.0.1', '8.0.2', '8.0.3', '9.0.0-rc1', 'latest')],
        ['image:docker.io/library/nginx', known('1.29', '1.29.3', '1.28')],
        ['image:quay.io/o/p', known('v2.1.0', 'v2.4.0', 'v3.0.0-rc.1')],
      ]),
    }
    const again = readVersionsFile({ path: 'v', text: writeVersionsFile(file) })
    const rows = Object.fromEntries(
      versionRows(used, again).map(({ name, newest, behind, releases }) => [name, [newest, behind, releases]]),
    )
    assert.deepEqual(rows, {
      nginx: ['1.29.3', 'patch', 1],
      postgres: ['18.1-alpine', 'major', 2],
      'quay.io/o/p': ['v2.4.0', 'minor', 1],
      redis: ['8.0.3', 'patch', 2],
      web: [null, 'unknown', null],
    })
    assert.ok(versionRows(used, noVersions).every(({ behind }) => behind === 'unknown'))
    assert.equal(versionRows(used, noVersions).find(({ name }) => name === 'postgres')?.supportedUntil, '2029-11-08')
  })
})

suite('cost', () => {
  const table = parsePrices({ path: 'built-in', text: builtInPrices })
  const plan = (resources: readonly object[], prior: readonly object[] = []): SourceFile => ({
    path: 'plan.json',
    text: JSON.stringify({
      format_version: '1.2',
      planned_values: { root_module: { resources } },
      prior_state: { values: { root_module: { resources: prior } } },
    }),
  })
  const machine = (size: string, type = 'aws_instance'): object => ({
    address: `${type}.${size}`,
    mode: 'managed',
    type,
    values: { instance_type: size, server_type: size, type: size },
  })

  test('what has no price is unpriced, and in no sum', () => {
    const report = estimate(
      readSources(
        [
          plan([
            machine('m5.large'),
            machine('x9.huge'),
            machine('cx33', 'hcloud_server'),
            machine('DEV1-S', 'scaleway_instance_server'),
          ]),
        ],
        { named: true },
      ),
      table,
    )
    assert.deepEqual(
      report.sums.map(({ currency, fixed }) => [currency, fixed.toFixed(2)]),
      [
        ['EUR', '18.98'],
        ['USD', '70.08'],
      ],
    )
    assert.deepEqual(
      report.unpriced.map(({ object }) => object),
      ['aws_instance.x9.huge'],
    )
    assert.equal(`${report.priced} of ${report.resources}`, '3 of 4')
    assert.match(
      costText(report, null, plainPaint),
      /Unpriced\n {2}aws_instance\.x9\.huge: the table has no price for x9\.huge of AWS/,
    )
  })

  test('use that is not said is a formula with three sizes, not a sum', () => {
    const report = estimate(
      readSources(
        [plan([{ address: 'f', mode: 'managed', type: 'aws_lambda_function', values: { memory_size: 1024 } }])],
        { named: true },
      ),
      table,
    )
    assert.deepEqual(report.sums, [])
    const [formula] = report.formulas
    assert.ok(formula !== undefined && formula.small < formula.medium && formula.medium < formula.large)
  })

  test('what a change adds', () => {
    const source = plan([machine('m5.xlarge')], [machine('m5.large')])
    const [sum] = costChange(
      estimate(readPriorState(source), table),
      estimate(readSources([source], { named: true }), table),
    )
    assert.equal(sum?.fixed.toFixed(2), '70.08')
  })

  test('a table of your own counts first; a bad line is named', () => {
    const own = parsePrices({
      path: 'own',
      text: 'source mine 2026-11-01 https://example.com\nregion AWS us-east-1 USD\nmachine hour mine m5.large=0.05\n',
    })
    assert.equal(mergeTables(table, own).find('AWS', null, 'machine', 'm5.large')?.amount, 0.05)
    const bad = [
      'machine hour x a=1',
      'source x yesterday https://e',
      'region AWS x usd',
      'source a 2026-01-01 u\nregion A b EUR\nmachine hour a m5',
      'source a 2026-01-01 u\nregion A b EUR\nmachine week a m=5',
      'source a 2026-01-01 u\nregion A b EUR\nmachine hour b m=5',
      'source a 2026-01-01 u\nregion A b EUR\nmachine hour a m=-5',
    ]
    for (const lines of bad)
      assert.throws(() => parsePrices({ path: 'bad', text: lines }), {
        code: 'check.bad-prices',
        message: new RegExp(`^bad:${lines.split('\n').length}:1: `),
      })
    assert.deepEqual(ownMachinePerMonth({ price: 1200, years: 4, watts: 100, perKilowattHour: 0.3 }), {
      machine: 25,
      power: 21.9,
    })
  })

  test('the known plan costs what is known', { skip: needsData('cost') }, () => {
    const directory = join(dataDir, 'cost', 'plan-cost-golden')
    const source = { path: 'example_plan.json', text: readFileSync(join(directory, 'example_plan.json'), 'utf8') }
    const usage = readYaml({ path: 'usage.yml', text: readFileSync(join(directory, 'example_usage.yml'), 'utf8') })[0]
      ?.tree
    const report = estimate(readSources([source], { named: true }), table, usageOf(usage ?? assert.fail()))
    const [sum] = report.sums
    assert.ok(Math.abs((sum?.fixed ?? 0) + (sum?.usage ?? 0) - 1361.31) < 0.01 * 1361.31)
    assert.ok(Math.abs((sum?.fixed ?? 0) - 924.64) < 0.01)
    assert.deepEqual(report.unpriced, [])
  })
})

test('a design beside its own simpler alternative', () => {
  const service = (name: string, uses: string): string =>
    `  ${name}: { image: "r.example.com/shop/${name}:7", environment: { PEER: "http://${uses}:80" } }`
  const found = complexityOf(
    read(
      `services:\n${service('a', 'b')}\n${service('b', 'c')}\n${service('c', 'db')}\n  db: { image: "postgres:18.1" }\n`,
      'compose.yaml',
    ),
  )
  assert.deepEqual([found.programs, found.interfaces, found.failureModes], [4, 3, 21])
  assert.deepEqual(found.simpler, { programs: 2, interfaces: 1, failureModes: 9, together: ['a', 'b', 'c'] })
})

suite('real inputs', { skip: needsData('manifests') }, () => {
  const directory = join(dataDir, 'manifests')
  const sources = globSync('**/*.{yaml,yml,json}', { cwd: directory })
    .sort()
    .map((path): SourceFile => ({ path: relative('.', path), text: readFileSync(join(directory, path), 'utf8') }))
  const inventory = readSources(sources, { named: false })
  const report = checkInventory(inventory, { standard: mostStrict, nowMs })

  test('everything is read; only templates of charts are not', () => {
    assert.deepEqual(
      inventory.problems
        .filter(({ code }) => code !== 'check.unrendered-template')
        .map(({ place, message }) => `${place.source.path}: ${message}`),
      [],
    )
    assert.ok(inventory.workloads.length > 100)
  })

  test('no rule makes more than a fifth of all findings', () => {
    const counts = new Map<string, number>()
    for (const { rule } of report.findings) counts.set(rule.id, (counts.get(rule.id) ?? 0) + 1)
    for (const [rule, count] of counts)
      assert.ok(count <= report.findings.length / 5, `${rule}: ${count} of ${report.findings.length}`)
    assert.ok(report.groups.length <= Object.keys(causes).length)
  })

  test('what needs no knowledge of an image meets restricted once mended; the rest is told; twice changes nothing', () => {
    const { files, left } = fixFindings(report.findings)
    const mended = sources.map((source) => ({
      path: source.path,
      text: files.find((file) => file.source === source)?.text ?? source.text,
    }))
    const again = readSources(mended, { named: false })
    const mendable = new Set([
      'allowPrivilegeEscalation',
      'capabilities_restricted',
      'seccompProfile_restricted',
      'procMount_restricted',
    ])
    let whole = 0
    for (const [index, workload] of inventory.workloads.entries()) {
      if (workload.platform !== 'kubernetes') continue
      const before = violations(workload.pod, mostStrict)
      const after = violations(again.workloads[index]?.pod ?? assert.fail(), mostStrict)
      if (before.length > 0 && before.every(({ check }) => mendable.has(check))) {
        assert.deepEqual(after, [], workload.name)
        whole++
      }
      for (const { check } of after)
        assert.ok(
          left.some(
            ({ finding, why }) => finding.subject === workload && why !== '' && finding.rule.category === 'security',
          ),
          `${workload.name}: ${check}`,
        )
    }
    assert.ok(whole > 20)
    const second = checkInventory(again, { standard: mostStrict, nowMs })
    assert.deepEqual(fixFindings(second.findings).files, [])
    assert.equal(again.problems.length, inventory.problems.length)
  })
})
