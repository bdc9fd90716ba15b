/** The taking apart of SQL: by example, by construction (random statements joined), and on noise. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { seededRandom } from '../base/index.ts'
import { placeOf, splitStatements } from './sql.ts'

const textsOf = (text: string): readonly string[] => splitStatements(text).map((statement) => statement.text)

/** A chooser among values, repeatable by its seed. */
function chooser(seed: number): <T>(values: readonly T[]) => T {
  const random = seededRandom(seed)
  return (values) => {
    const [high = 0, low = 0] = random.bytes(2)
    const value = values[((high << 8) | low) % values.length]
    assert.ok(value !== undefined)
    return value
  }
}

suite('statements', () => {
  const examples: readonly (readonly [what: string, text: string, expected: readonly string[]])[] = [
    ['nothing', ' ;; -- x\n /* ; */ ;', []],
    ['two', 'select 1; select 2', ['select 1', 'select 2']],
    ['quotes', `select 'a;b', ';''', "a;""b"; select 2`, [`select 'a;b', ';''', "a;""b"`, 'select 2']],
    ['a backslash in a plain string is nothing special', `select '\\'; select 2`, [`select '\\'`, 'select 2']],
    ['escapes', `select e'\\';', E'a'';b'; select 2`, [`select e'\\';', E'a'';b'`, 'select 2']],
    ['a continued string with escapes', `select E'a'\n  'b\\';'; select 2`, [`select E'a'\n  'b\\';'`, 'select 2']],
    ['a name that ends in e before a string', `select date'2020-01-01\\'; x`, [`select date'2020-01-01\\'`, 'x']],
    ['dollar quotes', `do $$ begin; end $$; do $a$ $$;$b$; $a$; x`, ['do $$ begin; end $$', 'do $a$ $$;$b$; $a$', 'x']],
    ['a dollar inside a name', 'select a$b$ from t$b$; x', ['select a$b$ from t$b$', 'x']],
    ['parameters', 'select $1; select $2', ['select $1', 'select $2']],
    [
      'nested comments',
      'select 1 /* a /* ; */ ; */; x',
      ['select 1 /* a /* ; */ ; */', 'x'].map((t) => t.replace(/ \/\*.*/, '')),
    ],
    ['a comment inside', 'select /* ; */ 1 -- ;\n, 2; x', ['select /* ; */ 1 -- ;\n, 2', 'x']],
    [
      'parentheses',
      'create rule r as on insert to t do also (select 1; select 2); x',
      ['create rule r as on insert to t do also (select 1; select 2)', 'x'],
    ],
    [
      'a body in SQL',
      'create or replace function f() returns int begin atomic select case when true then 1 end; select 2; end; x',
      ['create or replace function f() returns int begin atomic select case when true then 1 end; select 2; end', 'x'],
    ],
    ['a quote that is not closed', `select 1; select 'a; select 2`, ['select 1', `select 'a; select 2`]],
    ['a comment that is not closed', 'select 1; select 2 /* ; select 3', ['select 1', 'select 2']],
  ]
  for (const [what, text, expected] of examples) {
    test(what, () => assert.deepEqual(textsOf(text), expected))
  }
})

test('words are those outside of quotes, comments and parentheses', () => {
  const [statement] = splitStatements(`Create /* Unique */ Index "Concurrently" on t (vacuum) where a = 'begin'`)
  assert.deepEqual(statement?.words, ['CREATE', 'INDEX', 'ON', 'T', 'WHERE', 'A'])
})

test('random statements that are joined come apart as they were', () => {
  const choose = chooser(11)
  const pieces = [
    'select',
    'x',
    '1',
    '$1',
    '+',
    ',',
    '::',
    '.5',
    'ä',
    'a$1',
    '(1; 2)',
    `'a;b'`,
    `''`,
    `'it''s;'`,
    `'\\'`,
    // Followed by something, because a string on the next line would go on with escapes.
    `E'\\';',`,
    `e''';',`,
    `U&'\\0041;'`,
    '"a;b"',
    '""";"',
    '$$;$$',
    '$x$ $$ ; $y$ $x$',
    '$ä$;$ä$',
    '/*;*/ 1',
    '/*/*;*/;*/ 1',
    '--;\n1',
    'case when a then b end',
  ]
  for (let round = 0; round < 500; round++) {
    const statements = Array.from({ length: choose([1, 2, 3, 5]) }, () =>
      ['x', ...Array.from({ length: choose([1, 2, 4, 8]) }, () => choose(pieces)), 'y'].join(
        choose([' ', '\n', '\t ']),
      ),
    )
    const text = statements.join(choose([';', ' ;\n', ';;', '; /* ; */ ', '; -- ;\n']))
    assert.deepEqual(textsOf(text), statements, text)
  }
})

test('on noise: slices are verbatim and in order, and between them stand only spaces, comments and semicolons', () => {
  const choose = chooser(12)
  const noise = [
    `'`,
    `"`,
    '$',
    '$$',
    '$a$',
    'e',
    'E',
    `E'`,
    '\\',
    '/*',
    '*/',
    '--',
    '\n',
    ' ',
    ';',
    '(',
    ')',
    'begin',
    'end',
    'create function',
    'x',
    '1',
    '😀',
    '\0',
  ]
  for (let round = 0; round < 2000; round++) {
    const text = Array.from({ length: choose([3, 10, 40]) }, () => choose(noise)).join('')
    let at = 0
    for (const statement of splitStatements(text)) {
      const between = text.slice(at, statement.offset)
      assert.match(between, /^(?:[\s;]|--[^\n\r]*(?=[\n\r])|\/\*[\s\S]*\*\/)*$/, JSON.stringify(text))
      assert.equal(text.slice(statement.offset, statement.offset + statement.text.length), statement.text)
      assert.equal(statement.line, text.slice(0, statement.offset).split('\n').length)
      assert.match(statement.text, /^[^\s;]/)
      at = statement.offset + statement.text.length
    }
  }
})

test('a long text takes time in proportion', () => {
  const hostile = [`E'a'\n`, '--', '/*', '$a$', `'`, '(', ' ', '\n'].map((piece) => piece.repeat(100_000))
  for (const text of hostile) assert.ok(splitStatements(`select 1; ${text}`).length >= 1)
})

test('a place is told in lines and characters, not in bytes or UTF-16 units', () => {
  const text = `select 1;\n\n-- 😀\nselect '😀', '😀'\n  , oops\nfrom t;\n`
  const statement = splitStatements(text)[1]
  assert.ok(statement !== undefined)
  assert.equal(statement.line, 4)
  const position = Array.from(statement.text.slice(0, statement.text.indexOf('oops'))).length + 1
  assert.deepEqual(placeOf(text, statement, position), { line: 5, column: 5, lineText: '  , oops' })
  assert.deepEqual(placeOf(text, statement, null), { line: 4, column: 1, lineText: `select '😀', '😀'` })
})
