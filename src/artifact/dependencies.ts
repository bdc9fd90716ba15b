/**
 * Dependencies as layers: what `package-lock.json` and `requirements.txt` name, installed once for each content of these
 * files, apart from the working directory, and normalised so that two installations are equal.
 *
 * Invariant: no code of a package runs while it is installed (npm without scripts; pip with wheels only, unless
 * requirements.txt itself says `--no-binary`). The environment of the installers is empty but for what they need to find
 * the registry.
 */
import { copyFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SteadError, canonicalJson } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import type { Digest, Runtime } from './bundle.ts'
import { ignoreLines } from './ignore.ts'
import type { Ignore } from './ignore.ts'
import { readLockfile } from './lockfile.ts'
import { digestOf } from './manifest.ts'
import { runProgram } from './run.ts'
import { pythonPath } from './runtimes.ts'
import { textOf } from './scan.ts'

/** Where Python's packages are in a bundle. */
export const pythonDirectory = '.stead/python'

/** Part of every key: a change of how layers are made makes new ones. */
const layerFormat = 1
const installTimeoutMs = 15 * 60 * 1000
const requirementsBytesMax = 1024 * 1024

export interface InstallContext {
  readonly clock: Clock
  readonly onProgress: (line: string) => void
  readonly signal: AbortSignal | undefined
}

/** How to make a layer. */
export interface Recipe {
  /** Equal keys give equal layers. */
  readonly key: Digest
  /** For progress lines: "12 packages of package-lock.json with npm". */
  readonly what: string
  /** What the installation leaves in its directory that is not part of the layer. */
  readonly ignore: Ignore
  install(directory: string, context: InstallContext): Promise<void>
}

export interface Dependencies {
  readonly recipes: readonly Recipe[]
  /** What of the working directory a layer stands for, and which therefore stays out. */
  readonly replaced: Ignore
}

/** What the directory's dependencies need. `python`: the Python that will run them. `env`: the environment of the platform, of which installers get a part. */
export async function dependenciesOf(
  from: string,
  runtime: Runtime | null,
  python: () => Promise<Runtime>,
  env: NodeJS.ProcessEnv,
): Promise<Dependencies> {
  const lock = await textOf(join(from, 'package-lock.json'))
  const requirements = await textOf(join(from, 'requirements.txt'))
  const recipes = [
    lock === null ? null : await npmRecipe(from, lock, runtime, env),
    requirements === null ? null : await pipRecipe(requirements, python, env),
  ]
  return {
    recipes: recipes.filter((recipe) => recipe !== null),
    replaced: ignoreLines([
      ...(lock === null ? [] : ['/node_modules']),
      ...(requirements === null ? [] : ['/.venv/', '/venv/']),
    ]),
  }
}

async function npmRecipe(
  from: string,
  lock: string,
  runtime: Runtime | null,
  env: NodeJS.ProcessEnv,
): Promise<Recipe | null> {
  const manifest = await textOf(join(from, 'package.json'))
  const locked = readLockfile(lock, manifest)
  if (locked.count === 0) return null
  const settings = await textOf(join(from, '.npmrc'))
  const node = runtime?.name === 'node' ? runtime.version : process.version
  return {
    key: keyOf(['npm', manifest, lock, settings, node]),
    what: `${locked.count} packages of package-lock.json with npm`,
    // The hidden lock file names the registry that was used.
    ignore: ignoreLines(['/package.json', '/package-lock.json', '/.npmrc', '/node_modules/.package-lock.json']),
    async install(directory, context) {
      if (manifest !== null) await writeFile(join(directory, 'package.json'), manifest)
      await writeFile(join(directory, 'package-lock.json'), lock)
      // Holds where a private registry is; removed with the directory.
      if (settings !== null) await copyFile(join(from, '.npmrc'), join(directory, '.npmrc'))
      if (locked.withInstallScript.length > 0) {
        context.onProgress(`install scripts are not run: ${locked.withInstallScript.join(', ')}`)
      }
      const quiet = ['--no-audit', '--no-fund', '--no-update-notifier']
      await install('npm ci', ['npm', 'ci', '--omit=dev', '--ignore-scripts', ...quiet], directory, env, context)
    },
  }
}

async function pipRecipe(
  requirements: string,
  python: () => Promise<Runtime>,
  env: NodeJS.ProcessEnv,
): Promise<Recipe | null> {
  const lines = requirementLines(requirements)
  if (lines.length === 0) return null
  const { version } = await python()
  const hashed = lines.some((line) => line.includes('--hash='))
  const pinned = lines.every((line) => line.startsWith('-') || /^[^\s=]+\s*===?\s*[^\s*;#]+(?:[\s;#]|$)/.test(line))
  return {
    key: keyOf(['pip', requirements, version]),
    what: 'the packages of requirements.txt with pip',
    ignore: ignoreLines(['/requirements.txt', '__pycache__', '*.pyc', '*.dist-info/direct_url.json']),
    async install(directory, context) {
      await writeFile(join(directory, 'requirements.txt'), requirements)
      if (!pinned) {
        context.onProgress('requirements.txt does not fix every version: another machine may get a different bundle')
      }
      const what = ['--target', pythonDirectory, '--no-compile', '--only-binary', ':all:', '-r', 'requirements.txt']
      const quiet = ['--no-input', '--disable-pip-version-check', '--no-warn-script-location']
      const strict = hashed ? ['--require-hashes'] : []
      const asRoot = ['--root-user-action', 'ignore']
      const argv = [...what, ...quiet, ...strict, ...asRoot]
      await install('pip install', [pythonPath, '-m', 'pip', 'install', ...argv], directory, env, context)
      await normaliseRecords(join(directory, pythonDirectory))
    },
  }
}

function requirementLines(text: string): string[] {
  if (Buffer.byteLength(text) > requirementsBytesMax) {
    throw new SteadError({
      code: 'artifact.dependency-refused',
      message: `requirements.txt is larger than ${requirementsBytesMax} bytes`,
      hint: 'It should name packages, one a line.',
    })
  }
  return text
    .replace(/\\\r?\n/g, ' ')
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
}

/** Packages differ between platforms, so the platform is part of every key. */
function keyOf(parts: readonly (string | null)[]): Digest {
  return digestOf(canonicalJson([layerFormat, process.platform, process.arch, ...parts]))
}

async function install(
  what: string,
  argv: readonly [string, ...string[]],
  directory: string,
  env: NodeJS.ProcessEnv,
  context: InstallContext,
): Promise<void> {
  const result = await runProgram({
    argv,
    cwd: directory,
    env: installerEnvironment(env),
    timeoutMs: installTimeoutMs,
    clock: context.clock,
    signal: context.signal,
    onLine: context.onProgress,
  })
  if (result.fault === null) return
  const lines = result.lastLines.map((line) => `\n  ${line}`).join('')
  throw new SteadError({
    code: 'artifact.dependencies-failed',
    message: `${what} ${result.fault}${lines === '' ? '' : `; its last lines:${lines}`}`,
    hint: `See whether \`${argv.join(' ')}\` works in an empty directory that holds only these files, and whether the registry can be reached.`,
    retry: 'later',
  })
}

/** How to find and trust a registry, and nothing else: no tokens of other services, no settings that change what is installed. */
const passed: readonly RegExp[] = [
  /^(?:PATH|HOME|LANG|LC_ALL|TMPDIR|XDG_CONFIG_HOME|XDG_CACHE_HOME)$/,
  /^(?:https?|all|no)_proxy$/i,
  /^(?:SSL_CERT_FILE|SSL_CERT_DIR|NODE_EXTRA_CA_CERTS|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE)$/,
  /^npm_config_(?:.*registry|\/\/.*|userconfig|globalconfig|cache|cafile|ca|cert|key|.*proxy|strict_ssl|fetch_.*|min_release_age)$/i,
  /^PIP_(?:.*INDEX.*|FIND_LINKS|TRUSTED_HOST|PROXY|CERT|CLIENT_CERT|CACHE_DIR|NO_CACHE_DIR|CONFIG_FILE|DEFAULT_TIMEOUT|TIMEOUT|RETRIES)$/,
]

/** The part of the environment that installers get. */
export function installerEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  const entries = Object.entries(env).filter(([name]) => passed.some((pattern) => pattern.test(name)))
  return Object.fromEntries(entries.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))
}

/** pip's list of installed files, without what the layer leaves out and in one order. */
async function normaliseRecords(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!name.endsWith('.dist-info')) continue
    const path = join(directory, name, 'RECORD')
    const text = await textOf(path)
    if (text === null) continue
    const kept = text
      .split(/\r?\n/)
      .filter((line) => line !== '' && !/(?:\.pyc|\.dist-info\/direct_url\.json),/.test(line))
    await writeFile(path, `${kept.sort().join('\n')}\n`)
  }
}
