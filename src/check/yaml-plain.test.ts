/** The quick reader beside the full parser: where it answers at all, the answer is the same, offsets and all. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { stringify } from 'yaml'
import { seededRandom } from '../base/index.ts'
import type { Random } from '../base/index.ts'
import { dataDir, needsData } from '../../test/data.ts'
import type { Tree } from './tree.ts'
import { readPlainYaml } from './yaml-plain.ts'
import { readFully } from './yaml.ts'

/** Everything about a tree; where nothing stands is nobody's concern. */
function shape(tree: Tree): unknown {
  if (tree.kind === 'scalar') return [tree.value, tree.value === null ? 0 : tree.offset, tree.plain]
  if (tree.kind === 'list') return [tree.offset, tree.size, tree.items.map(shape)]
  return [
    tree.offset,
    tree.size,
    [...tree.entries].map(([name, { keyOffset, value }]) => [name, keyOffset, shape(value)]),
  ]
}

/** A whole number below a count. */
function chosen(random: Random, count: number): number {
  const [high = 0, low = 0] = random.bytes(2)
  return (high * 256 + low) % count
}

/** Compares; answers whether the quick reader took it. */
function compare(text: string): boolean {
  const quick = readPlainYaml(text, 0)
  if (quick === null) return false
  const full = readFully({ path: 'x.yaml', text }, text, 0, text.length)
  assert.deepEqual(full.problems, [], JSON.stringify(text))
  assert.ok(full.tree !== null)
  assert.equal(JSON.stringify(shape(quick)), JSON.stringify(shape(full.tree)), JSON.stringify(text))
  return true
}

suite('the quick reader of YAML', () => {
  test('takes what manifests are written in', () => {
    const texts = [
      '---\n# head\napiVersion: v1\nkind: Pod # why\nmetadata:\n  name: "a b"\n  labels: { app: web, "x": \'y\' }\nspec:\n  containers:\n  - name: a\n    args: [--port=80, "-v", 1, true]\n    command:\n      - sh\n      - -c\n      - |\n        echo hello\n\n        exit 0\n    env:\n    - {name: A, value: "1"}\n  restartPolicy: Always\n',
      'a:\nb: 1\nc:\n- 1\n-\n  - x: 1\n    y:\n\n',
      'url: http://a:80/b#c\ntime: 10:20\nversion: 1.2.3\n',
      't: |-\n  one\n   two\nu: |+\n  three\n\nv: 1\n',
      "a: 'it''s'\nb: \"tab\\tquote\\\"\"\n",
    ]
    for (const text of texts) assert.ok(compare(text), text)
  })

  test('leaves the rest to the full parser', () => {
    const texts = [
      'a: &x 1\n',
      'a: *x\n',
      '<<: 1\n',
      '? a\n',
      'a: >\n  b\n',
      'a: b\n  c\n',
      'a: 1\na: 2\n',
      '- - 1\n',
      'a: {b: {{ c }}}\n',
      'a: !t b\n',
      'a: "\\x41"\n',
      'a: 0x1f\n',
      '%YAML 1.1\n---\na: 1\n',
      'a:\tb\n',
      'a: b: c\n',
      'a: 1\r\n',
      '"a\nb": 1\n',
      'x',
      '',
    ]
    for (const text of texts) assert.equal(readPlainYaml(text, 0), null, JSON.stringify(text))
  })

  test('agrees with the full parser on texts nobody would write', () => {
    const pieces = [
      'a: ',
      'b: ',
      '- ',
      '{',
      '}',
      '[',
      ']',
      '"',
      "'",
      '\n',
      '\n  ',
      '\n    ',
      ' ',
      'x',
      'y z',
      '1',
      '-1',
      '1.5',
      '0x1f',
      '.5',
      '1e3',
      '~',
      'null',
      'true',
      '&x ',
      '*x',
      '!t ',
      '|\n',
      '|-\n',
      '|+\n',
      '>\n',
      ' #c',
      '#c\n',
      '---\n',
      '...\n',
      '? ',
      ': ',
      ':',
      ',',
      'a:b',
      '<<: ',
      '\t',
      '\\',
      '"q"',
      "'s'",
      'ü',
      'two words: ',
      '-',
      '%',
      '@',
      '`',
      '   \n',
    ]
    const random = seededRandom(7)
    const pick = (count: number): number => chosen(random, count)
    let taken = 0
    for (let round = 0; round < 20_000; round++) {
      let text = ''
      for (let length = 1 + pick(12); length > 0; length--) text += pieces[pick(pieces.length)] ?? ''
      if (compare(text)) taken++
    }
    assert.ok(taken > 200, `${taken} taken`)
  })

  test('agrees with the full parser on values in every style', () => {
    const words = [
      'a',
      'b c',
      'x: y',
      '- q',
      '#h',
      'a #b',
      '1',
      'true',
      'null',
      '~',
      '',
      'two\nlines',
      'more\n\nlines\n',
      '  lead\nx\n',
      'x\n\n\n',
      '{a}',
      '[b]',
      "it's",
      'http://a:80/b',
      'a:b',
      '100m',
      '0777',
      '1e3',
      'yes',
      '*x',
      '&y',
      '%p',
      '@q',
      'ü',
      '\ttab',
      'long '.repeat(30),
    ]
    const random = seededRandom(11)
    const pick = (count: number): number => chosen(random, count)
    const value = (depth: number): unknown => {
      const kind = depth === 0 ? 0 : pick(6)
      if (kind < 3) return [words[pick(words.length)], pick(100), true, null, 1.5][pick(5)]
      if (kind === 5) return Array.from({ length: pick(4) }, () => value(depth - 1))
      return Object.fromEntries(
        Array.from({ length: pick(5) }, () => [words[pick(words.length)] ?? '', value(depth - 1)]),
      )
    }
    let taken = 0
    for (let round = 0; round < 2000; round++) {
      const style = {
        indentSeq: pick(2) === 0,
        lineWidth: [0, 40, 80][pick(3)] ?? 0,
        collectionStyle: pick(5) === 0 ? 'flow' : 'any',
      } as const
      if (compare(stringify(value(4), style))) taken++
    }
    assert.ok(taken > 100, `${taken} taken`)
  })

  test(
    'agrees with the full parser on real manifests, and takes most of them',
    { skip: needsData('manifests') },
    () => {
      const files = globSync('**/*.{yaml,yml}', { cwd: join(dataDir, 'manifests') }).filter(
        (path) => !path.includes('templates'),
      )
      const documents = files.flatMap((path) =>
        readFileSync(join(dataDir, 'manifests', path), 'utf8').split(/^(?=---(?:\s|$))/m),
      )
      const taken = documents.filter(compare)
      assert.ok(taken.length > documents.length * 0.8, `${taken.length} of ${documents.length}`)
    },
  )
})
