/** App files in real child processes: the graph of good ones, and for each way to go wrong an error with file and line. */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { canonicalJson } from '../base/index.ts'
import type { SteadError } from '../base/index.ts'
import type { Graph } from '../model/index.ts'
import { evaluateAppFile, findAppFile } from './index.ts'
import type { EvaluateOptions } from './index.ts'

/** Files by their path; a text that starts with `->` is a link. */
type Files = Readonly<Record<string, string>>

const local = { name: 'local', production: false }
const good = `import { app, service } from 'stead'
const web = service('web', { run: ['node', 'web.ts'], http: 3000 })
export default app('shop', () => ({ parts: { web } }))
`

async function withFiles<T>(files: Files, use: (root: string) => Promise<T>): Promise<T> {
  const root = await realpath(await mkdtemp(join(tmpdir(), 'stead evaluate (1) ')))
  try {
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(root, path)), { recursive: true })
      await (text.startsWith('->') ? symlink(text.slice(2), join(root, path)) : writeFile(join(root, path), text))
    }
    return await use(root)
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}

/** Generous, because machines are slow; what must end by it is given less. */
function evaluate(path: string, options: Partial<EvaluateOptions> = {}): Promise<Graph> {
  return evaluateAppFile(path, { environment: local, timeoutMs: 60_000, ...options })
}

/** Evaluates `app.ts` among `files` and expects an error. */
function refuses(
  name: string,
  files: Files | string,
  code: string,
  message: RegExp,
  options: Partial<EvaluateOptions> = {},
): void {
  test(name, async () => {
    const all: Files = typeof files === 'string' ? { 'app/app.ts': files } : files
    await withFiles(all, async (root) => {
      const failure = await evaluate(join(root, 'app/app.ts'), options).then(
        (graph) => assert.fail(`it was accepted: ${canonicalJson(graph)}`),
        (error: SteadError) => error,
      )
      assert.equal(failure.code, code, failure.message)
      assert.match(failure.message.replaceAll(root, ''), message)
      assert.doesNotMatch(failure.message, /node:internal|evaluate\/child/, 'nothing of ours is in it')
      assert.notEqual(failure.hint ?? '', '')
    })
  })
}

test('a good file gives its graph, twice the same bytes', async () => {
  const files = {
    'app.ts': `import { app, job, postgres, service } from 'stead'
import { randomBytes, randomUUID } from 'node:crypto'
const noise = [new Date(), Date.now(), Date(), Math.random(), performance.now(), performance.timeOrigin, process.uptime(),
  process.hrtime.bigint(), randomUUID(), crypto.randomUUID(), randomBytes(8).toString('hex'),
  crypto.getRandomValues(new Uint8Array(4)), new Intl.DateTimeFormat().format(), new Date().getTimezoneOffset()]
export default app('shop', ({ env }) => {
  const db = postgres('db', { migrations: './migrations' })
  const web = service('web', { from: './web', run: ['node', 'web.ts'], http: 3000, use: { db }, replicas: env.production ? 3 : 1,
    env: { NOISE: noise.map(String).join(), ENV: JSON.stringify(process.env), NAME: env.name } })
  return { parts: { web, tidy: job('tidy', { run: ['true'], schedule: '0 3 * * *' }) }, public: { 'shop.localhost': web } }
})
`,
    'web/web.ts': '',
    'migrations/0001_first.sql': '',
  }
  await withFiles(files, async (root) => {
    const [one, two] = [await evaluate(root), await evaluate(join(root, 'app.ts'))]
    assert.equal(canonicalJson(one), canonicalJson(two))
    const web = one.parts.find((part) => part.name === 'web')
    assert.ok(web?.kind === 'service')
    assert.match(web.env['NOISE'] ?? '', /^Sat Jan 01 2000 00:00:00 GMT\+0000 .*,946684800000,.*,0$/)
    assert.equal(web.env['ENV'], '{"TZ":"UTC"}')
    const production = await evaluate(root, { environment: { name: 'eu', production: true } })
    assert.ok(
      production.parts.some((part) => part.kind === 'service' && part.replicas === 3 && part.env['NAME'] === 'eu'),
    )
  })
})

test('what a file imports: its own modules, JSON, packages, packages of its workspace', async () => {
  const files = {
    'shop/app.mts': `import { app, service, type Service } from 'stead'
import { name } from './lib/name.ts'
import data from './data.json' with { type: 'json' }
import installed from 'installed'
import { shared } from '@team/shared'
import hoisted from 'hoisted'
const web: Service = service('web', { run: [name, data.word, installed, shared, hoisted] })
export default app('shop', () => ({ parts: { web } }))
`,
    'shop/package.json': '{ "type": "commonjs" }',
    'shop/lib/name.ts': 'export const name: string = "own"',
    'shop/data.json': '{ "word": "json" }',
    'shop/node_modules/installed/package.json': '{ "exports": "./index.js" }',
    'shop/node_modules/installed/index.js': 'module.exports = "package"',
    'node_modules/hoisted/index.js': 'module.exports = "hoisted"',
    'node_modules/@team/shared': '->../../packages/shared',
    'packages/shared/package.json': '{ "type": "module", "exports": "./index.ts" }',
    'packages/shared/index.ts': 'export const shared: string = "workspace"',
  }
  await withFiles(files, async (root) => {
    const [web] = (await evaluate(join(root, 'shop/app.mts'))).parts
    assert.ok(web?.kind === 'service')
    assert.deepEqual(web.run, ['own', 'json', 'package', 'workspace', 'hoisted'])
  })
})

test('a file in JavaScript, whatever package.json says', async () => {
  await withFiles({ 'app.js': good, 'package.json': '{ "type": "commonjs" }' }, async (root) => {
    assert.equal((await evaluate(root)).app, 'shop')
  })
})

test('what a file prints is kept apart and bounded', async () => {
  const noisy = `console.log('hello'); console.error('world'); process.stdout.write('x'.repeat(1_000_000))\n${good}`
  await withFiles({ 'app.ts': noisy }, async (root) => {
    const printed: string[] = []
    const graph = await evaluate(root, { onOutput: (text) => printed.push(text) })
    assert.equal(graph.app, 'shop')
    assert.match(printed.join(''), /^hello\nx+world\n$/)
    assert.ok(printed.join('').length < 140_000)
  })
})

test('which file: the one that is named, or app.ts before app.js before app.mjs', async () => {
  await withFiles(
    { 'a/app.ts': good, 'a/app.js': good, 'b/app.mjs': good, 'c/other.ts': good, 'c/x.md': '' },
    async (root) => {
      assert.equal(await findAppFile(join(root, 'a')), join(root, 'a/app.ts'))
      assert.equal(await findAppFile(join(root, 'b')), join(root, 'b/app.mjs'))
      assert.equal(await findAppFile(join(root, 'c/other.ts')), join(root, 'c/other.ts'))
      const error = { name: 'SteadError', code: 'evaluate.no-app-file' }
      await assert.rejects(findAppFile(join(root, 'c')), {
        ...error,
        message: `There is no app file in ${join(root, 'c')}.`,
      })
      await assert.rejects(findAppFile(join(root, 'd/app.ts')), {
        ...error,
        message: /^There is no file or directory /,
      })
      await assert.rejects(findAppFile(join(root, 'c/x.md')), {
        ...error,
        message: /is no app file: its name does not end/,
      })
    },
  )
})

refuses(
  'a syntax error: file, line, column, the line and a caret',
  `import { app } from 'stead'\nconst x: number = ;\n`,
  'evaluate.does-not-compile',
  /^\/app\/app\.ts:2:19 does not compile: Expression expected\.\n {2}2 \| const x: number = ;\n {4}\| {19}\^$/,
)
refuses(
  'a syntax error in an imported file',
  { 'app/app.ts': `import './parts.ts'`, 'app/parts.ts': '\n\nlet let = 1' },
  'evaluate.does-not-compile',
  /^\/app\/parts\.ts:3:\d+ does not compile: /,
)
refuses(
  'an enum',
  'enum Size { Small }',
  'evaluate.does-not-compile',
  /^\/app\/app\.ts:1:1 does not compile: TypeScript enum/,
)
refuses(
  'a name declared twice',
  'const a = 1\n  const a = 2',
  'evaluate.does-not-compile',
  /^\/app\/app\.ts:2:9 does not compile: Identifier 'a' has already been declared\./,
)
refuses(
  'a misspelt builder',
  `import { postgress } from 'stead'`,
  'evaluate.does-not-compile',
  /^\/app\/app\.ts:1:10 does not compile: .*'stead' does not provide an export named 'postgress'\./,
)
refuses(
  'a file that throws',
  `function deep(): never {\n  throw new TypeError('no such\\nthing.')\n}\ndeep()`,
  'evaluate.threw',
  /^\/app\/app\.ts:2:9 threw TypeError: no such\.\n {2}2 \| {3}throw new TypeError/,
)
refuses('a file that throws no error', `throw 'nothing'`, 'evaluate.threw', /^\/app\/app\.ts threw a value: nothing\.$/)
refuses(
  'an error thrown later',
  `setTimeout(() => { throw new Error('late') })\nawait new Promise(() => {})`,
  'evaluate.threw',
  /^\/app\/app\.ts:1:26 threw Error: late\./,
)
refuses(
  'a rejection nobody handles',
  `void Promise.reject(new Error('lost'))\nawait new Promise((done) => setTimeout(done, 60_000))`,
  'evaluate.threw',
  /^\/app\/app\.ts:1:21 threw Error: lost\./,
)
refuses(
  'a value used before it is declared',
  `import { app, service } from 'stead'\nconst a = service('a', { run: ['a'], http: 1, use: { b } })\nconst b = service('b', { run: ['b'], http: 2, use: { a } })\nexport default app('x', () => ({ parts: { a, b } }))`,
  'evaluate.threw',
  /^\/app\/app\.ts:2:\d+ threw ReferenceError: Cannot access 'b' before initialization\./,
)
refuses(
  'a mistake in wiring: the line of the builder',
  `import { app, service } from 'stead'\nconst web = service('web', { run: ['node'], htpp: 3000 } as never)\nexport default app('x', () => ({ parts: { web } }))`,
  'model.unknown-option',
  /^\/app\/app\.ts:2:13: service 'web' has no option 'htpp'\.\n {2}2 \| const web = service/,
)
refuses(
  'a mistake between parts',
  `import { app, secret } from 'stead'\nexport default app('x', () => ({ parts: { a: secret('a'), b: secret('a') } }))`,
  'model.duplicate-name',
  /^\/app\/app\.ts: Two parts have the same name: secret 'a' and secret 'a'\.$/,
)
refuses(
  'a package that is not installed',
  `import { app } from 'stead'\nimport pad from 'leftpad'`,
  'evaluate.missing-import',
  /^\/app\/app\.ts:2 imports leftpad, and there is no such package\.\n {2}2 \| import pad/,
)
refuses(
  'a module that is not there',
  `import './nope.ts'`,
  'evaluate.missing-import',
  /^\/app\/app\.ts:1 imports \/app\/nope\.ts, and there is no such module\./,
)
refuses(
  "the platform's own libraries are not the app's",
  `import 'croner'`,
  'evaluate.missing-import',
  /imports croner, and there is no such package\./,
)
refuses(
  'nothing exported',
  '',
  'evaluate.no-default-export',
  /^\/app\/app\.ts has no default export; it exports nothing\.$/,
)
refuses(
  'the wrong thing exported',
  'export const shop = 1',
  'evaluate.no-default-export',
  /^\/app\/app\.ts has no default export; it exports only shop\.$/,
)
refuses(
  'a default export that is no app',
  'export default { parts: {} }',
  'evaluate.not-an-app',
  /^\/app\/app\.ts: The default export is a plain object, not an app\.$/,
)
refuses(
  'a directory of code that is not there',
  `import { app, job } from 'stead'\nexport default app('x', () => ({ parts: { j: job('j', { from: './jobs', run: ['x'] }) } }))`,
  'evaluate.missing-directory',
  /^\/app\/app\.ts: job 'j' needs the directory \/app\/jobs, which is not there\.$/,
)
refuses(
  'a directory of migrations that is a file',
  {
    'app/app.ts': `import { app, postgres } from 'stead'\nexport default app('x', () => ({ parts: { db: postgres('db', { migrations: 'sql' }) } }))`,
    'app/sql': '',
  },
  'evaluate.missing-directory',
  /^\/app\/app\.ts: postgres 'db' needs the directory \/app\/sql, which is not there\.$/,
)
refuses(
  'a directory that is a link out of the app',
  {
    'app/app.ts': `import { app, job } from 'stead'\nexport default app('x', () => ({ parts: { j: job('j', { from: 'jobs', run: ['x'] }) } }))`,
    'other/x': '',
    'app/jobs': '->../other',
  },
  'evaluate.outside-directory',
  /^\/app\/app\.ts: job 'j' needs the directory \/app\/jobs, which is a link that leads out of the app\.$/,
)
refuses('a loop', 'for (;;);', 'evaluate.timeout', /^\/app\/app\.ts did not finish within 700ms\.$/, { timeoutMs: 700 })
refuses(
  'a wait without end',
  'await new Promise(() => {})',
  'evaluate.never-settles',
  /^\/app\/app\.ts waits at its top level for something that never comes\.$/,
)
refuses(
  'a heap without end',
  'const all: object[] = []\nfor (;;) all.push({})',
  'evaluate.out-of-memory',
  /^\/app\/app\.ts needs more memory than an app file is given\.$/,
  { memoryBytes: 64_000_000 },
)
refuses(
  'an exit',
  'process.exit(0)',
  'evaluate.no-answer',
  /^The process that ran \/app\/app\.ts ended with exit code 0 before/,
)
refuses(
  'an answer of its own making',
  `import { writeSync } from 'node:fs'\nwriteSync(3, JSON.stringify({ kind: 'graph', graph: { version: 1, app: '../x', parts: [], routes: [] } }))\nprocess.exit(0)`,
  'model.bad-graph',
  /at `app`/,
)
refuses(
  'an answer without sense',
  `import { writeSync } from 'node:fs'\nwriteSync(3, '{"kind":"thrown","stack":5}')\nprocess.exit(0)`,
  'evaluate.threw',
  /^\/app\/app\.ts threw a value: \.$/,
)
refuses(
  'an answer without end',
  `import { writeSync } from 'node:fs'\nconst text = 'x'.repeat(65_536)\nfor (;;) writeSync(3, text)`,
  'evaluate.too-large',
  /^The graph of \/app\/app\.ts is larger than 16MB\.$/,
)
