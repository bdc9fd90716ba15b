/**
 * The structure of the source, held as a test: which folder may import which, no cycles, faces, headers, length, and what
 * does not belong into a codebase. ARCHITECTURE.md shows the same table of layers.
 */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'

/** For each folder of src: the folders it may import. Reading down, imports only point up this list. */
const layers: Record<string, readonly string[]> = {
  base: [],
  model: ['base'],
  check: ['base'],
  scheduler: ['base'],
  evaluate: ['base', 'model'],
  store: ['base'],
  queue: ['base', 'provider'],
  artifact: ['base'],
  image: ['base'],
  sandbox: ['base'],
  network: ['base'],
  effects: ['base'],
  domain: ['base'],
  certificates: ['base'],
  backup: ['base'],
  provider: ['base', 'model'],
  database: ['base', 'provider'],
  objects: ['base', 'provider'],
  secrets: ['base', 'store', 'provider'],
  protocol: ['base', 'model', 'network', 'sandbox', 'provider'],
  transport: ['base', 'protocol'],
  release: ['base', 'model'],
  batch: ['base', 'store', 'scheduler', 'protocol'],
  control: ['base', 'model', 'store', 'network', 'provider', 'secrets', 'protocol', 'transport', 'release', 'batch'],
  agent: [
    'base',
    'model',
    'artifact',
    'sandbox',
    'network',
    'domain',
    'provider',
    'secrets',
    'debug',
    'image',
    'protocol',
    'transport',
  ],
  gateway: ['base', 'model', 'network', 'protocol', 'transport'],
  operator: ['base', 'model', 'protocol', 'transport', 'release', 'batch'],
  dashboard: ['base', 'model', 'protocol', 'release', 'operator'],
  debug: ['base', 'network'],
  remote: ['base'],
}

/** Folders that may touch files, network or processes; elsewhere only under drivers/ and in conformance suites. */
const rim = [
  'artifact',
  'image',
  'evaluate',
  'transport',
  'agent',
  'gateway',
  'dashboard',
  'operator',
  'remote',
  'cli',
  'network',
]

/** What runs in a browser: it is bundled, has the browser's clock, and no Node. */
const browserHalf = 'src/dashboard/web/'

/** Files longer than 500 lines, each with its reason. */
const longFiles: Record<string, string> = {}

const linesMax = 500

interface SourceFile {
  readonly path: string
  readonly folder: string
  readonly text: string
  readonly imports: readonly string[]
  readonly valueImports: readonly string[]
}

/** The code of a file without its comments, for rules that words in a comment must not trip. */
function codeOf(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
}

const root = join(import.meta.dirname, '..')
const files: SourceFile[] = globSync('src/**/*.{ts,tsx}', { cwd: root })
  .sort()
  .map((path) => {
    const text = readFileSync(join(root, path), 'utf8')
    const statements = [...text.matchAll(/^(?:import|export)\s+(type\s)?[^'"]*?from\s+'([^']+)'|^import\s+'([^']+)'/gm)]
    const target = (match: RegExpMatchArray): string => {
      const specifier = match[2] ?? match[3] ?? ''
      return specifier.startsWith('.') ? relative(root, join(root, dirname(path), specifier)) : specifier
    }
    return {
      path,
      folder: path.split('/')[1] ?? '',
      text,
      imports: statements.map(target),
      valueImports: statements.filter((match) => match[1] === undefined).map(target),
    }
  })
const sources = files.filter((file) => !file.path.endsWith('.test.ts'))

function offenders(found: readonly string[], rule: string): void {
  assert.deepEqual(found, [], `${rule}:\n${found.join('\n')}\n`)
}

test('imports point down the layers', () => {
  const found = sources.flatMap((file) =>
    file.imports
      .filter((target) => target.startsWith('src/'))
      .map((target) => ({ target, folder: target.split('/')[1] ?? '' }))
      .filter(({ folder }) => folder !== file.folder && file.folder !== 'cli')
      .filter(({ folder }) => !(layers[file.folder] ?? []).includes(folder))
      .map(({ target }) => `${file.path} -> ${target}`),
  )
  offenders(found, 'an import against the layers')
  const unknown = [...new Set(sources.map((file) => file.folder))].filter(
    (folder) => folder !== 'cli' && !(folder in layers),
  )
  offenders(unknown, 'a folder that has no layer')
})

test('ARCHITECTURE.md shows the same table', () => {
  const libraries = ['artifact', 'sandbox', 'network', 'domain', 'provider', 'secrets']
  const page = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8')
  const rows = [...page.matchAll(/^\| ([a-z, ]+) \|[^|]+\| ([^|]*)\|$/gm)]
  const shown = rows.flatMap(([, rooms = '', imports = '']) =>
    rooms.split(', ').map((room) => {
      const named = imports.replace('the libraries', `base, model, ${libraries.join(', ')}`).split(', ')
      return [room, named.map((name) => name.trim()).filter((name) => name !== '')] as const
    }),
  )
  const table = Object.fromEntries(
    shown.filter(([room]) => !['room', 'cli'].includes(room)).map(([room, named]) => [room, named.toSorted()]),
  )
  const held = Object.fromEntries(Object.entries(layers).map(([room, named]) => [room, named.toSorted()]))
  assert.deepEqual(table, held)
})

test('across folders only the face is imported', () => {
  const found = files.flatMap((file) =>
    file.imports
      .filter((target) => target.startsWith('src/') && target.split('/')[1] !== file.folder)
      .filter((target) => !/^src\/[a-z]+\/(index|conformance)\.ts$/.test(target))
      .map((target) => `${file.path} -> ${target}`),
  )
  offenders(found, "an import past another folder's index.ts")
})

test('inside a folder nobody imports its own face', () => {
  const found = sources.flatMap((file) =>
    file.imports
      .filter((target) => target === `src/${file.folder}/index.ts` && file.path !== target)
      .map((target) => `${file.path} -> ${target}`),
  )
  offenders(found, 'an import of the own face')
})

test('no import cycles', () => {
  const graph = new Map(
    sources.map((file) => [file.path, file.valueImports.filter((target) => target.startsWith('src/'))]),
  )
  const done = new Set<string>()
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) assert.fail(`import cycle: ${[...trail.slice(trail.indexOf(path)), path].join(' -> ')}`)
    if (done.has(path)) return
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path])
    done.add(path)
  }
  for (const path of graph.keys()) visit(path, [])
})

test('every file opens with what it is', () => {
  offenders(
    files.filter((file) => !/^(#!.*\n)?\/\*\*/.test(file.text)).map((file) => file.path),
    'a file without a header comment',
  )
})

test('files stay short', () => {
  offenders(
    sources
      .filter((file) => file.text.split('\n').length > linesMax && !(file.path in longFiles))
      .map((file) => `${file.path}: ${file.text.split('\n').length} lines`),
    `a file of more than ${linesMax} lines`,
  )
})

test('no barrels, default exports, casts to any, inheritance or left-overs', () => {
  const rules: readonly [string, RegExp][] = [
    ['export *', /^export \*/m],
    ['default export', /^export default/m],
    ['any', /\bas any\b|: any\b|<any>/],
    ['extends of a class other than Error', /\bclass \w+(?:<[^>]*>)? extends (?!Error\b)/],
    ['top-level let', /^(?:export )?let /m],
  ]
  const found = sources.flatMap((file) =>
    rules.filter(([, pattern]) => pattern.test(codeOf(file.text))).map(([rule]) => `${file.path}: ${rule}`),
  )
  offenders(found, 'something that does not belong here')
  offenders(
    files.filter((file) => /\b(?:TODO|FIXME|XXX)\b|@ts-ignore/.test(file.text)).map((file) => file.path),
    'a left-over',
  )
  const reexports = sources.filter(
    (file) => !file.path.endsWith('/index.ts') && /^export (?:type )?\{[^}]*\} from/m.test(file.text),
  )
  offenders(
    reexports.map((file) => file.path),
    'a barrel that is not a face',
  )
})

test('only the rim touches files, network and processes', () => {
  const forbidden = /^node:(?:fs|fs\/promises|net|http|https|tls|dgram|child_process|worker_threads|sqlite|ffi)$/
  const found = sources
    .filter(
      (file) => !rim.includes(file.folder) && !file.path.includes('/drivers/') && !file.path.endsWith('conformance.ts'),
    )
    .flatMap((file) =>
      file.valueImports.filter((target) => forbidden.test(target)).map((target) => `${file.path} -> ${target}`),
    )
  offenders(found, 'I/O outside the rim')
})

test('the browser half runs in a browser', () => {
  const found = sources
    .filter((file) => file.path.startsWith(browserHalf))
    .flatMap((file) =>
      file.valueImports
        .filter((target) => target.startsWith('node:') || (target.startsWith('src/') && !inBrowser(target)))
        .map((target) => `${file.path} -> ${target}`),
    )
  offenders(found, 'an import of what a browser does not have')
  const wire = sources.find((file) => file.path === 'src/dashboard/wire.ts')
  assert.deepEqual(wire?.valueImports, [], 'what both halves share imports nothing but types')
  offenders(
    sources
      .filter(
        (file) => !file.path.startsWith(browserHalf) && file.imports.some((target) => target.startsWith(browserHalf)),
      )
      .map((file) => file.path),
    'the server half imports the browser half',
  )
})

function inBrowser(path: string): boolean {
  return path.startsWith(browserHalf) || path === 'src/dashboard/wire.ts'
}

test('clock and randomness are passed in', () => {
  const found = sources
    .filter((file) => !['src/base/clock.ts', 'src/base/random.ts'].includes(file.path) && file.folder !== 'cli')
    .filter((file) => !file.path.startsWith(browserHalf))
    .filter((file) =>
      /\bDate\.now\(|\bMath\.random\(|\bnew Date\(\)|\bperformance\.now\(|\brandomUUID\(/.test(file.text),
    )
    .map((file) => file.path)
  offenders(found, 'a look at the machine clock or dice')
})

test('every interface of drivers has two implementations and every library a conformance suite', () => {
  for (const folder of new Set(sources.filter((file) => file.path.includes('/drivers/')).map((file) => file.folder))) {
    const own = sources.filter((file) => file.folder === folder)
    assert.ok(
      own.some((file) => file.path === `src/${folder}/conformance.ts`),
      `src/${folder} has drivers but no conformance.ts`,
    )
    const drivers = new Set(
      own.filter((file) => file.path.includes('/drivers/')).map((file) => file.path.split('/')[3]?.replace('.ts', '')),
    )
    assert.ok(drivers.size >= 2, `src/${folder} has one driver only`)
  }
})

test('error codes belong to their folder', () => {
  const found = sources.flatMap((file) =>
    [...file.text.matchAll(/\bcode: '([a-z-]+)\.[a-z-]+'/g)]
      .filter((match) => match[1] !== file.folder)
      .map((match) => `${file.path}: ${match[0]}`),
  )
  offenders(found, 'an error code of another folder')
})
