/** Dependencies: installed from the registry once for each lock file, equal each time, without running their code. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleepMs } from 'node:timers/promises'
import { needsAll, needsFile } from '../../test/needs.ts'
import { systemClock } from '../base/index.ts'
import { installerEnvironment } from './dependencies.ts'
import { runtimeEnvironment } from './environment.ts'
import { readLockfile } from './lockfile.ts'
import { createBundleStore } from './store.ts'
import { fails, newStore, temporaryDirectory, writeTree } from './support.test.ts'

/** Whether the registry of npm answers, asked by npm itself: it knows proxies and mirrors. */
function needsNpmRegistry(): string | false {
  const { status } = spawnSync('npm', ['view', 'is-number@7.0.0', 'version', '--fetch-retries=0'], {
    timeout: 20_000,
    cwd: '/',
  })
  return status === 0 ? false : 'needs npm and a registry that it can reach: see whether `npm view is-number` works'
}

function needsPipRegistry(): string | false {
  const pip = needsFile('/usr/lib/python3/dist-packages/pip/__init__.py', 'apt-get install -y python3-pip')
  if (pip !== false) return pip
  const download = [
    '-m',
    'pip',
    'download',
    '--no-deps',
    '--no-input',
    '--retries',
    '0',
    '-d',
    '/dev/null/x',
    'six==1.16.0',
  ]
  const { stderr } = spawnSync('/usr/bin/python3', download, { timeout: 20_000, cwd: '/', encoding: 'utf8' })
  return /Not a directory|NotADirectory/.test(stderr)
    ? false
    : 'needs a Python package index: see whether `python3 -m pip download six` works'
}

const integrity = {
  'is-number': 'sha512-41Cifkg6e8TylSpdtTpeLVMqvSBEVzTttHvERD741+pnZ8ANv0004MRL43QKPDlK9cGvNp6NZWZUBlbGXYxxng==',
  semver: 'sha512-oVekP1cKtI+CTDvHWYFUcMtsK/00wmAEfyqKfNdARm8u1wNVhSgaX7A8d4UuIlUI5e84iEwOhs7ZPYRmzU9U6A==',
}

/** The command line of a process, empty when it is gone. */
function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}

function npmTree(
  versions: Readonly<Record<string, string>> = { 'is-number': '7.0.0', semver: '7.6.3' },
): Record<string, string> {
  const manifest = { name: 'app', version: '1.0.0', dependencies: versions, devDependencies: { ms: '2.1.3' } }
  const packages = {
    '': manifest,
    'node_modules/is-number': { version: versions['is-number'], integrity: integrity['is-number'] },
    'node_modules/semver': { version: versions.semver, integrity: integrity.semver, bin: { semver: 'bin/semver.js' } },
    'node_modules/ms': { version: '2.1.3', integrity: 'sha512-none', dev: true },
  }
  const lock = { name: 'app', version: '1.0.0', lockfileVersion: 3, requires: true, packages }
  return { 'package.json': JSON.stringify(manifest), 'package-lock.json': JSON.stringify(lock), 'main.js': '' }
}

test('npm: production packages come from the lock file, once, and equal in every store', async (context) => {
  const reason = needsNpmRegistry()
  if (reason !== false) return context.skip(reason)
  const tree = { ...npmTree(), 'node_modules/mine/index.js': 'of the working directory' }
  const from = writeTree(temporaryDirectory(context), tree)
  const lines: string[] = []
  const store = await newStore(context)
  const onProgress = (line: string): void => void lines.push(line)
  const bundle = await store.make({ from, runtime: null, onProgress })
  const paths = bundle.manifest.files.map((file) => file.path)
  assert.ok(paths.includes('node_modules/is-number/index.js'))
  assert.ok(!paths.some((path) => /node_modules\/(?:mine|ms|\.package-lock)/.test(path)))
  const run = spawnSync('node_modules/.bin/semver', ['1.2.3'], { cwd: bundle.path, encoding: 'utf8' })
  assert.equal(run.stdout, '1.2.3\n')
  assert.deepEqual(readdirSync(join(from, 'node_modules')), ['mine'])
  assert.match(lines.join('\n'), /installing 2 packages of package-lock.json with npm/)

  lines.length = 0
  writeFileSync(join(from, 'main.js'), 'changed')
  const again = await store.make({ from, runtime: null, onProgress })
  assert.notEqual(again.digest, bundle.digest)
  assert.doesNotMatch(lines.join('\n'), /installing/)

  const elsewhere = await (await newStore(context)).make({ from, runtime: null })
  assert.equal(elsewhere.digest, again.digest)
  await store.verify(again.digest)
})

test('npm: a failure says what npm said, and leaves nothing', async (context) => {
  const reason = needsNpmRegistry()
  if (reason !== false) return context.skip(reason)
  const tree = npmTree({ 'is-number': '7.0.0', semver: '7.6.3' })
  const wrong = (tree['package-lock.json'] ?? '').replace(integrity.semver, integrity['is-number'])
  const from = writeTree(temporaryDirectory(context), { ...tree, 'package-lock.json': wrong })
  const root = join(temporaryDirectory(context), 'store')
  const store = await createBundleStore({ root, clock: systemClock })
  await fails(
    store.make({ from, runtime: null }),
    'artifact.dependencies-failed',
    /npm ci ended with code 1[^]*EINTEGRITY/,
  )
  assert.deepEqual(readdirSync(join(root, 'layers')), [])
})

test('npm: an installation that is given up ends', async (context) => {
  const bin = temporaryDirectory(context)
  writeFileSync(join(bin, 'npm'), '#!/bin/sh\nsleep 1000 & echo started $!; wait\n')
  chmodSync(join(bin, 'npm'), 0o755)
  const store = await newStore(context, { env: { PATH: `${bin}:/usr/bin:/bin` } })
  const from = writeTree(temporaryDirectory(context), npmTree())
  const control = new AbortController()
  let sleeper = 0
  const onProgress = (line: string): void => {
    sleeper = Number(/^started (\d+)$/.exec(line)?.[1] ?? sleeper)
    if (sleeper > 0) control.abort(new Error('given up'))
  }
  await assert.rejects(store.make({ from, runtime: null, onProgress, signal: control.signal }), /given up/)
  assert.ok(sleeper > 0)
  for (let tries = 0; commandOf(sleeper) !== '' && tries < 200; tries++) await sleepMs(50)
  assert.equal(commandOf(sleeper), '')
})

test('npm: a missing npm is said in a sentence', async (context) => {
  const store = await newStore(context, { env: { PATH: '/nonexistent' } })
  const from = writeTree(temporaryDirectory(context), npmTree())
  await fails(store.make({ from, runtime: null }), 'artifact.dependencies-failed', /npm ci could not be started/)
})

test('a lock file must fix what is installed', () => {
  const lock = (item: object): string => JSON.stringify({ packages: { '': {}, 'node_modules/x': item } })
  const good = { version: '1.0.0', integrity: 'sha512-x', resolved: 'https://registry.example/x/-/x-1.0.0.tgz' }
  assert.deepEqual(readLockfile(lock({ ...good, hasInstallScript: true })), { count: 1, withInstallScript: ['x'] })
  assert.equal(readLockfile(lock({ dev: true, link: true })).count, 0)
  assert.equal(readLockfile(lock({ inBundle: true })).count, 1)
  const refused: readonly (readonly [text: string, message: RegExp])[] = [
    [lock({ ...good, integrity: undefined }), /x has no integrity/],
    [lock({ ...good, resolved: 'git+ssh://git@example.com/x.git#1' }), /x comes from git\+ssh/],
    [lock({ link: true, resolved: '../x' }), /x is a link/],
    ['{"lockfileVersion":1,"dependencies":{}}', /no "packages"/],
    ['{', /not JSON/],
  ]
  for (const [text, message] of refused) assert.throws(() => readLockfile(text), message)
})

test('installers get what leads to the registry, and no more', () => {
  const passed = {
    PATH: '/bin',
    HOME: '/root',
    https_proxy: 'http://proxy',
    NO_PROXY: 'localhost',
    SSL_CERT_FILE: '/ca.pem',
    npm_config_registry: 'http://mirror',
    'npm_config_@mine:registry': 'http://mine',
    'npm_config_//mine/:_authToken': 'token',
    NPM_CONFIG_USERCONFIG: '/npmrc',
    PIP_INDEX_URL: 'http://mirror',
    PIP_FIND_LINKS: '/wheels',
  }
  const dropped = {
    AWS_SECRET_ACCESS_KEY: 'x',
    DATABASE_URL: 'x',
    NODE_OPTIONS: 'x',
    PYTHONPATH: 'x',
    npm_config_dry_run: 'true',
    npm_config_include: 'dev',
    npm_lifecycle_script: 'x',
    PIP_TARGET: '/',
    PIP_USER: '1',
  }
  assert.deepEqual(installerEnvironment({ ...passed, ...dropped }), passed)
})

test('pip: packages go where PYTHONPATH leads, equal in every store', async (context) => {
  const reason = needsAll(needsFile('/usr/bin/python3', 'apt-get install -y python3'), needsPipRegistry())
  if (reason !== false) return context.skip(reason)
  const from = writeTree(temporaryDirectory(context), {
    'requirements.txt': '# pinned\nsix==1.16.0\ncharset-normalizer==3.3.2\n',
    '.venv/bin/python3': '-> /usr/bin/python3',
    'main.py': 'import six; print(six.__version__)',
  })
  const lines: string[] = []
  const [store, other] = [await newStore(context), await newStore(context)]
  const { runtime } = await store.resolveRuntime('python3')
  const bundle = await store.make({ from, runtime, onProgress: (line) => lines.push(line) })
  const paths = bundle.manifest.files.map((file) => file.path)
  assert.ok(paths.includes('.stead/python/six.py'))
  assert.ok(!paths.some((path) => /__pycache__|\.pyc$|direct_url/.test(path)))
  assert.deepEqual(runtimeEnvironment(bundle), { PYTHONPATH: '/app/.stead/python' })
  assert.doesNotMatch(lines.join('\n'), /does not fix/)
  // Not to write bytecode: as root even a read-only tree could be written to.
  const env = { PYTHONPATH: join(bundle.path, '.stead/python'), PYTHONDONTWRITEBYTECODE: '1' }
  const run = spawnSync('/usr/bin/python3', ['main.py'], { cwd: bundle.path, env, encoding: 'utf8' })
  assert.equal(run.stdout, '1.16.0\n', run.stderr)
  await store.verify(bundle.digest)
  assert.equal((await other.make({ from, runtime })).digest, bundle.digest)
})

test('pip: hashes are asked for when they are given, and versions that are not fixed are said', async (context) => {
  const reason = needsAll(needsFile('/usr/bin/python3', 'apt-get install -y python3'), needsPipRegistry())
  if (reason !== false) return context.skip(reason)
  const store = await newStore(context)
  const wrong = `six==1.16.0 --hash=sha256:${'0'.repeat(64)}\n`
  const from = writeTree(temporaryDirectory(context), { 'requirements.txt': wrong })
  await fails(
    store.make({ from, runtime: null }),
    'artifact.dependencies-failed',
    /pip install ended with code 1[^]*hash/i,
  )

  const lines: string[] = []
  writeFileSync(join(from, 'requirements.txt'), 'six>=1.16\n')
  const bundle = await store.make({ from, runtime: null, onProgress: (line) => lines.push(line) })
  assert.match(lines.join('\n'), /does not fix every version/)
  const record = bundle.manifest.files.find((file) => file.path.endsWith('RECORD'))
  assert.match(readFileSync(join(bundle.path, record?.path ?? ''), 'utf8'), /^six\.py,sha256=/m)
})
