/**
 * Servers that are built or put together: from Go modules, crates, Maven's and Debian's packages, by their own clients, which
 * check the digests of what they bring. What is fetched appears in the cache whole or not at all.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { cache } from '../test/fetch.ts'

/** Runs a program to its end. Throws in its words. */
function run(argv: readonly string[], env: Readonly<Record<string, string>> = {}, cwd?: string): string {
  const [command = '', ...args] = argv
  const result = spawnSync(command, args, {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    ...(cwd !== undefined && { cwd }),
  })
  if (result.status !== 0) throw new Error(`${argv.join(' ')}: ${result.error?.message ?? result.stderr.slice(-500)}`)
  return result.stdout
}

/** A program that a Go module is built to; Go holds the digests of modules. */
export function fetchGo(module: string, version: string, target: string): void {
  using dir = temporary()
  run(['go', 'install', `${module}@${version}`], { GOBIN: dir.path })
  renameSync(join(dir.path, basename(module)), target)
}

/** A program that a crate is built to, with the digests of its lock file. */
export function fetchCrate(name: string, version: string, features: readonly string[], target: string): void {
  using dir = temporary()
  // Less is optimised than in a release, so that the build ends while somebody waits for it.
  const env = {
    CARGO_TARGET_DIR: join(dir.path, 'target'),
    CARGO_PROFILE_RELEASE_OPT_LEVEL: '1',
    CARGO_PROFILE_RELEASE_LTO: 'off',
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS: '16',
  }
  const chosen = ['--locked', '--no-default-features', '--features', features.join(',')]
  run(['cargo', 'install', `${name}@${version}`, ...chosen, '--root', dir.path], env)
  renameSync(join(dir.path, 'bin', name), target)
}

/** The libraries of an artifact on Maven Central, with those they need; Maven checks the digests that come with them. */
export function fetchMaven(coordinates: string, target: string): void {
  using dir = temporary()
  const [group, artifact, version] = coordinates.split(':')
  const dependency = `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version></dependency>`
  const head = '<modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version>'
  writeFileSync(join(dir.path, 'pom.xml'), `<project>${head}<dependencies>${dependency}</dependencies></project>`)
  run(['mvn', '-q', '-B', 'dependency:copy-dependencies', `-DoutputDirectory=${join(dir.path, 'jars')}`], {}, dir.path)
  renameSync(join(dir.path, 'jars'), target)
}

/**
 * Packages of Debian with what they need and is not installed here, unpacked into a folder: nothing is installed, and no
 * rights are needed. apt checks the digests that Debian has signed.
 */
export function fetchDebian(packages: readonly string[], target: string): void {
  using dir = temporary(dirname(target))
  const plan = run(['apt-get', 'install', '--simulate', '--no-install-recommends', ...packages])
  const missing = [...plan.matchAll(/^Inst (\S+)/gm)].map(([, name = '']) => name)
  run(['apt-get', 'download', ...(missing.length === 0 ? packages : missing)], {}, dir.path)
  const unpacked = join(dir.path, 'root')
  for (const file of readdirSync(dir.path)) run(['dpkg-deb', '--extract', file, unpacked], {}, dir.path)
  renameSync(unpacked, target)
}

function temporary(parent: string = cache): Disposable & { readonly path: string } {
  mkdirSync(parent, { recursive: true })
  const path = mkdtempSync(join(parent, 'fetching-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}
