/** Mending: what is changed, what stays as it was written, what is refused, and that twice is as good as once. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import type { Json } from '../../base/index.ts'
import { checkInventory, fixFindings, mostStrict, readSources, unifiedDiff, violations } from '../index.ts'
import type { Path } from '../tree.ts'
import { applyReplacements, editDocument } from './edit.ts'

function edit(text: string, ...edits: readonly (readonly [Path, Json | undefined])[]): string | null {
  const replacements = editDocument(
    text,
    0,
    text.length,
    edits.map(([path, value]) => ({ path, value })),
  )
  return replacements === null ? null : applyReplacements(text, replacements)
}

function mend(text: string, path = 'a.yaml'): { readonly text: string; readonly left: readonly string[] } {
  const source = { path, text }
  const report = checkInventory(readSources([source], { named: true }), { standard: mostStrict, nowMs: 0 })
  const { files, left } = fixFindings(report.findings)
  return { text: files[0]?.text ?? text, left: left.map(({ finding }) => finding.rule.id) }
}

suite('edits of a text', () => {
  test('everything else stays as it was written', () => {
    const cases: readonly (readonly [string, readonly (readonly [Path, Json | undefined])[], string | null])[] = [
      ['a: 1\n', [[['b'], 2]], 'a: 1\nb: 2\n'],
      ['a: 1', [[['b'], 2]], 'a: 1\nb: 2'],
      ['a: 1   # one\n\n# end\n', [[['a'], 2]], 'a: 2   # one\n\n# end\n'],
      [
        'a:\n    b:   "x"  # why\nc: 3\n',
        [[['a', 'd', 'e'], true]],
        'a:\n    b:   "x"  # why\n    d:\n      e: true\nc: 3\n',
      ],
      ['a: {}\n', [[['a', 'b'], 1]], 'a: { b: 1 }\n'],
      ['a: {x: 1}\n', [[['a', 'b', 'c'], 1]], 'a: {x: 1, b: { c: 1 }}\n'],
      ['a: {x: 1,}\n', [[['a', 'b'], 1]], 'a: {x: 1, b: 1}\n'],
      ['a:\nb: 1\n', [[['a', 'c'], 1]], 'a:\n  c: 1\nb: 1\n'],
      ['a: # later\nb: 1\n', [[['a', 'c'], 1]], 'a: # later\n  c: 1\nb: 1\n'],
      ['a: ~\nb: 1\n', [[['a', 'c'], 1]], 'a:\n  c: 1\nb: 1\n'],
      ['l:\n- x\n- y # two\n', [[['l', '+'], 'z']], 'l:\n- x\n- y # two\n- z\n'],
      ['l: [x]\n', [[['l', '+'], 'z']], 'l: [x, z]\n'],
      ['l: []\n', [[['l', '+'], 'z']], 'l: [z]\n'],
      ['l: [x]\n', [[['l', '+'], 'x']], 'l: [x]\n'],
      ['x: 1\n', [[['l', '+'], 'z']], 'x: 1\nl: [z]\n'],
      ['t: |\n  one\n  two\n', [[['b'], 1]], 't: |\n  one\n  two\nb: 1\n'],
      ['m:\n  t: |\n    one\nz: 1\n', [[['m', 'b'], 1]], 'm:\n  t: |\n    one\n  b: 1\nz: 1\n'],
      ['a: 1\r\nm:\r\n  b: 2\r\n', [[['m', 'c', 'd'], 3]], 'a: 1\r\nm:\r\n  b: 2\r\n  c:\r\n    d: 3\r\n'],
      ['b: &b\n  x: 1\na: *b\n', [[['a', 'w'], 2]], 'b: &b\n  x: 1\n  w: 2\na: *b\n'],
      ['a: 1\nb: 2\nc: 3\n', [[['b'], undefined]], 'a: 1\nc: 3\n'],
      ['a: "no"\n', [[['a'], 'on']], 'a: "on"\n'],
      ['a: 1\n', [[['a', 'b'], 2]], null],
      ['a: 1\nb: 2\n', [[['a'], undefined]], null],
      [
        '---\na: 1\n',
        [
          [['b'], 2],
          [['c', 'd'], [1]],
          [['c', 'e'], 'f'],
        ],
        '---\na: 1\nb: 2\nc:\n  d: [1]\n  e: f\n',
      ],
    ]
    for (const [text, edits, expected] of cases) {
      assert.equal(edit(text, ...edits), expected, text)
      if (expected !== null) assert.equal(edit(expected, ...edits), expected, `twice: ${text}`)
    }
  })
})

suite('mending', () => {
  test('comments, order and other documents stay; the change is the least there is', () => {
    const text = [
      '# The shop',
      'apiVersion: apps/v1',
      'kind: Deployment',
      'metadata: { name: web }   # by hand',
      'spec:',
      '  template:',
      '    spec:',
      '      containers:',
      '      # the program',
      '      - name: "web"',
      "        image: 'r.example.com/web:1'",
      '        securityContext:',
      '          capabilities: {add: [NET_BIND_SERVICE]}',
      '',
      '---',
      'apiVersion: v1',
      'kind: ConfigMap',
      'metadata: {name: c}',
      '',
    ].join('\n')
    const { text: mended, left } = mend(text)
    const added = mended.split('\n').filter((line) => !text.split('\n').includes(line))
    assert.deepEqual(added, [
      '          capabilities: {add: [NET_BIND_SERVICE], drop: [ALL]}',
      '          allowPrivilegeEscalation: false',
      '      securityContext:',
      '        seccompProfile:',
      '          type: RuntimeDefault',
      '      automountServiceAccountToken: false',
    ])
    assert.ok(left.includes('pod-security.run-as-non-root'))
    assert.equal(mend(mended).text, mended)
  })

  test('a workload that needs no knowledge of its image meets restricted afterwards', () => {
    const pods = [
      'securityContext: { runAsNonRoot: true }\ncontainers: [{ name: a, image: i }, { name: b, image: i, securityContext: { allowPrivilegeEscalation: true } }]',
      'securityContext:\n  runAsUser: 1000\ninitContainers:\n- name: i\n  image: i\ncontainers:\n- image: i\n  name: a\n  securityContext:\n    capabilities:\n      drop:\n      - NET_RAW\n    seccompProfile:\n      type: Unconfined',
      'securityContext: {runAsNonRoot: true}\nhostUsers: false\ncontainers:\n- {name: a, image: i, securityContext: {procMount: Unmasked}}',
    ]
    for (const spec of pods) {
      const text = `apiVersion: v1\nkind: Pod\nmetadata: { name: p }\nspec:\n${spec.replace(/^/gm, '  ')}\n`
      const { text: mended } = mend(text)
      const [workload] = readSources([{ path: 'a.yaml', text: mended }], { named: true }).workloads
      assert.deepEqual(violations(workload?.pod ?? assert.fail(), mostStrict), [], mended)
    }
  })

  test('what the API server would refuse is not written', () => {
    const text =
      'apiVersion: v1\nkind: Pod\nmetadata: { name: p }\nspec:\n  containers:\n  - name: a\n    image: i\n    securityContext: { privileged: true }\n'
    const { text: mended, left } = mend(text)
    assert.doesNotMatch(mended, /allowPrivilegeEscalation/)
    assert.ok(left.includes('pod-security.allow-privilege-escalation') && left.includes('pod-security.privileged'))
  })

  test('lists of objects and compose files are mended in place', () => {
    const list =
      'apiVersion: v1\nkind: List\nitems:\n  - apiVersion: v1\n    kind: Pod\n    metadata: { name: p }\n    spec:\n      containers:\n        - name: a\n          image: i\n'
    assert.match(mend(list).text, /\n {10}securityContext:\n {12}allowPrivilegeEscalation: false/)
    const compose = 'services:\n  web:\n    image: i:1\n\n  db:\n    image: j:1\n    restart: always\n'
    assert.equal(
      mend(compose, 'compose.yaml').text,
      'services:\n  web:\n    image: i:1\n    restart: unless-stopped\n    security_opt: [no-new-privileges:true]\n\n  db:\n    image: j:1\n    restart: always\n    security_opt: [no-new-privileges:true]\n',
    )
  })

  test('JSON stays JSON, in the layout it has', () => {
    const value = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'p' },
      spec: { securityContext: {}, containers: [{ name: 'a', image: 'i' }] },
    }
    for (const text of [
      JSON.stringify(value, null, 2),
      JSON.stringify(value),
      JSON.stringify(value, null, 4).replaceAll('\n', '\r\n'),
    ]) {
      const { text: mended } = mend(text, 'p.json')
      const read = JSON.parse(mended)
      assert.equal(read.spec.containers[0].securityContext.allowPrivilegeEscalation, false)
      assert.equal(read.spec.securityContext.seccompProfile.type, 'RuntimeDefault')
      assert.equal(mend(mended, 'p.json').text, mended)
      assert.equal(mended.split('\n').length - text.split('\n').length, text.includes('\n') ? 2 : 0)
    }
  })

  test('diffs are what patch takes', () => {
    const directory = mkdtempSync(join(tmpdir(), 'stead-diff-'))
    try {
      const lines = Array.from({ length: 60 }, (_, index) => `line ${index}`)
      const cases = [
        ['a\nb\nc\n', 'a\nx\nc\n'],
        ['a\n', 'a\nb'],
        ['a', 'a\nb\n'],
        [`${lines.join('\n')}\n`, `${lines.toSpliced(50, 2, 'new').toSpliced(3, 0, 'more', 'and more').join('\n')}\n`],
      ] as const
      for (const [before, after] of cases) {
        const file = join(directory, 'f.txt')
        writeFileSync(file, before)
        writeFileSync(join(directory, 'd'), unifiedDiff('f.txt', before, after))
        execFileSync('git', ['apply', '--unidiff-zero', 'd'], { cwd: directory, stdio: 'pipe' })
        assert.equal(readFileSync(file, 'utf8'), after)
      }
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  })
})
