/** The package as others get it: packed, installed in an empty folder, imported, type-checked and run. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cpSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, delimiter, dirname, join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { ask, examplesDir, freePort, Workbench } from './command-line.ts'

const root = join(import.meta.dirname, '..')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  readonly exports: Readonly<Record<string, unknown>>
  readonly devDependencies: Readonly<Record<string, string>>
}
/** What npm says when it cannot reach its registry, as against one that refuses. */
const unreachable = /\b(?:ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT)\b/

/** Everything that can be imported; where the manifest has a star, by the suites that are there. */
const subpaths = Object.keys(manifest.exports)
  .flatMap((path) =>
    path.includes('*')
      ? globSync('src/*/conformance.ts', { cwd: root }).map((file) => path.replace('*', basename(dirname(file))))
      : [path],
  )
  .map((path) => path.replace('.', 'stead'))

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

suite('the package', () => {
  const dir = mkdtempSync(join(tmpdir(), 'stead-package-'))
  const installed = join(dir, 'node_modules', 'stead')
  let offline: string | null = null
  let packed: readonly string[] = []

  function run(cwd: string, command: string, ...args: readonly string[]): Promise<Ended> {
    const { NODE_EXTRA_CA_CERTS: certificates, ...env } = process.env
    const own = {
      ...env,
      // npm speaks to the network, and may need them.
      ...(command === 'npm' && certificates !== undefined ? { NODE_EXTRA_CA_CERTS: certificates } : {}),
      PATH: `${dirname(process.execPath)}${delimiter}${env['PATH'] ?? ''}`,
      npm_config_loglevel: 'error',
      STEAD_STATE: join(dir, 's'),
      STEAD_RUN: join(dir, 'r'),
    }
    return new Promise((resolve) => {
      const options = { cwd, env: own, timeout: 240_000, maxBuffer: 64 * 1024 * 1024 }
      execFile(command, [...args], options, (error, stdout, stderr) =>
        resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, stdout, stderr }),
      )
    })
  }

  async function succeed(cwd: string, command: string, ...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await run(cwd, command, ...args)
    assert.equal(code, 0, `${command} ${args.join(' ')}:\n${stdout}${stderr}`)
    return stdout
  }

  before(async () => {
    await succeed(root, process.execPath, 'scripts/build.ts')
    const answer = JSON.parse(await succeed(root, 'npm', 'pack', '--json', '--pack-destination', dir)) as readonly {
      readonly filename: string
      readonly files: readonly { readonly path: string }[]
    }[]
    packed = answer[0]?.files.map(({ path }) => path) ?? []
    writeFileSync(join(dir, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }))
    const types = ['node', 'pg'].map((name) => `@types/${name}@${manifest.devDependencies[`@types/${name}`] ?? ''}`)
    // The optional ones, Node and PostgreSQL, are 300 MB and have no part in what is asked here.
    const flags = ['--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund', '--prefer-offline']
    const tarball = join(dir, answer[0]?.filename ?? '')
    const result = await run(
      dir,
      'npm',
      'install',
      ...flags,
      '--fetch-retries=1',
      '--fetch-retry-mintimeout=1000',
      tarball,
      ...types,
    )
    if (result.code === 0) return
    offline = unreachable.exec(result.stderr)?.[0] ?? null
    assert.ok(offline !== null, result.stderr)
  })
  after(() => rmSync(dir, { recursive: true, force: true }))

  /** A test of what is installed; skipped with the reason where it could not be. */
  function installedTest(name: string, run: () => Promise<void>): void {
    test(name, (t) => {
      if (offline === null) return run()
      return t.skip(`needs the npm registry for the dependencies of the package: ${offline}`)
    })
  }

  test('holds no source, test or example, and nothing that tells of where it was made', async () => {
    const foreign = packed.filter(
      (path) => !/^(?:dist\/(?:.*\.(?:js|d\.ts|json)|dashboard\/web\/.*)|[A-Z]+(?:\.md)?|package\.json)$/.test(path),
    )
    assert.deepEqual(foreign, [])
    assert.deepEqual(
      packed.filter((path) => /test|fixture|example/.test(path)),
      [],
    )
    const registry = new URL((await succeed(root, 'npm', 'config', 'get', 'registry')).trim()).host
    // The public registry, which checks of lock files name, tells of nobody.
    const telling = [`${root}/`, `${dir}/`, ...(registry === 'registry.npmjs.org' ? [] : [registry])]
    const files = [...packed.filter((path) => path.startsWith('dist/')), 'package.json', 'package-lock.json']
    for (const path of files) {
      const text = readFileSync(join(root, path), 'utf8')
      for (const word of telling) assert.ok(!text.includes(word), `${path} tells of ${word}`)
    }
    assert.ok(!readFileSync(join(root, 'package-lock.json'), 'utf8').includes('"resolved"'))
  })

  installedTest('every path has types for whoever imports it', async () => {
    const lines = subpaths.map((path, index) => {
      const json = path.endsWith('.json') ? " with { type: 'json' }" : ''
      return json === '' ? `import * as m${index} from '${path}'` : `import m${index} from '${path}'${json}`
    })
    const app = `import { app, service } from 'stead'
      export const shop = app('shop', () => ({ parts: { web: service('web', { run: ['node', 'web.js'], http: 3000 }) } }))
      // @ts-expect-error a service does not run without a program
      export const wrong = service('wrong', {})`
    const used = `export const all = [${lines.map((_, index) => `m${index}`).join(', ')}]`
    writeFileSync(join(dir, 'consumer.ts'), [...lines, app, used].join('\n'))
    const compilerOptions = {
      module: 'nodenext',
      target: 'es2024',
      lib: ['es2024', 'esnext.disposable', 'esnext.iterator', 'esnext.array'],
      types: ['node'],
      strict: true,
      noEmit: true,
      resolveJsonModule: true,
    }
    writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['consumer.ts'] }))
    await succeed(dir, join(root, 'node_modules', '.bin', 'tsc'), '-p', dir)
  })

  installedTest('every path loads as JavaScript', async () => {
    const script = `for (const path of ${JSON.stringify(subpaths)}) {
      const json = path.endsWith('.json')
      await import(path, json ? { with: { type: 'json' } } : {})
      const place = import.meta.resolve(path)
      if (!json && !place.includes('/node_modules/stead/dist/')) throw new Error(path + ' is ' + place)
    }`
    writeFileSync(join(dir, 'load.mjs'), script)
    await succeed(dir, process.execPath, '--disable-warning=ExperimentalWarning', 'load.mjs')
  })

  installedTest('the command answers, and evaluates an app file', async () => {
    const doctor = await run(dir, 'npx', '--no-install', 'stead', 'doctor', '--json')
    assert.ok([0, 4].includes(doctor.code), doctor.stderr)
    assert.equal(doctor.stderr, '')
    const report = JSON.parse(doctor.stdout) as { readonly node: string; readonly resources: readonly string[] }
    assert.deepEqual(
      [report.node, report.resources],
      [process.version, ['postgres', 'queue', 'bucket', 'secret', 'state']],
    )
    cpSync(join(examplesDir, 'shop'), join(dir, 'shop'), { recursive: true })
    const graph = JSON.parse(await succeed(dir, 'npx', '--no-install', 'stead', 'graph', 'shop', '--json')) as {
      readonly parts: readonly { readonly name: string }[]
    }
    assert.deepEqual(
      graph.parts.map(({ name }) => name),
      ['db', 'form-key', 'invoices', 'orders', 'report', 'web', 'worker'],
    )
  })

  installedTest('the command refuses an old Node in words', async () => {
    const pretence = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.20.2' } })`
    const flags = ['--import', `data:text/javascript,${pretence}`]
    const result = await run(dir, process.execPath, ...flags, join(installed, 'dist', 'cli', 'bin.js'), 'help')
    assert.deepEqual([result.code, result.stdout], [1, ''])
    assert.match(result.stderr, /^stead: needs Node 24\.12 or newer.*\n.*Install a newer one.*\n$/)
  })

  installedTest('the command runs an app', async () => {
    await using bench = new Workbench({ main: join(installed, 'dist', 'cli', 'bin.js') })
    bench.write({
      'app.ts': `import { app, queue, service } from 'stead'
        // A resource whose server is a program of the package itself.
        const mail = queue('mail')
        const web = service('web', { from: './web', run: ['node', 'server.js'], http: 3000, use: { mail } })
        export default app('small', () => ({ parts: { web }, public: { 'small.localhost': web } }))`,
      'web/server.js': `require('node:http').createServer((q, a) => a.end('hello')).listen(process.env.PORT)`,
    })
    const port = await freePort()
    const up = bench.up('--port', String(port))
    await up.until(/small runs, after/)
    assert.equal((await ask(port, '/', { host: 'small.localhost' })).body, 'hello')
    assert.equal((await up.stop()).code, 0)
  })
})
