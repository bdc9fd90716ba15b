/**
 * Servers that are built or put together: from Go modules, crates, Maven's and Debian's packages, by their own clients, which
 * check the digests of what they bring. What is fetched appears in the cache whole or not at all.
 */
import { mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { fetching, run } from '../test/fetch.ts'

/** A program that a Go module is built to; Go holds the digests of modules. */
export function fetchGo(module: string, version: string, target: string): void {
  fetching((dir) => {
    run(dir, 'env', `GOBIN=${dir}`, 'go', 'install', `${module}@${version}`)
    renameSync(join(dir, basename(module)), target)
  })
}

/** A program that a crate is built to, with the digests of its lock file. */
export function fetchCrate(name: string, version: string, features: readonly string[], target: string): void {
  fetching((dir) => {
    // Less is optimised than in a release, so that the build ends while somebody waits for it.
    const environment = [
      `CARGO_TARGET_DIR=${join(dir, 'target')}`,
      'CARGO_PROFILE_RELEASE_OPT_LEVEL=1',
      'CARGO_PROFILE_RELEASE_LTO=off',
      'CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16',
    ]
    const chosen = ['--locked', '--no-default-features', '--features', features.join(',')]
    run(dir, 'env', ...environment, 'cargo', 'install', `${name}@${version}`, ...chosen, '--root', dir)
    renameSync(join(dir, 'bin', name), target)
  })
}

/** A description that artifacts name as their parent and that was never published. */
export interface MavenParent {
  readonly coordinates: string
  /** Its own parent. */
  readonly parent: string
  /** What its children depend on by it. */
  readonly brings: readonly string[]
}

/** The libraries of artifacts on Maven Central, with those they need; Maven checks the digests that come with them. */
export function fetchMaven(artifacts: readonly string[], target: string, parent?: MavenParent): void {
  fetching((dir) => {
    const here = join(dir, 'here')
    if (parent !== undefined) {
      const [group = '', artifact = '', version = ''] = parent.coordinates.split(':')
      const folder = join(here, ...group.split('.'), artifact, version)
      mkdirSync(folder, { recursive: true })
      const text = `<parent>${named(parent.parent)}</parent>${named(parent.coordinates)}<packaging>pom</packaging>`
      writeFileSync(join(folder, `${artifact}-${version}.pom`), project(text, parent.brings))
    }
    const repository = `<repositories><repository><id>here</id><url>${pathToFileURL(here).href}</url></repository></repositories>`
    writeFileSync(
      join(dir, 'pom.xml'),
      project(`${named('x:x:1')}${parent === undefined ? '' : repository}`, artifacts),
    )
    // What was not found before is looked for again.
    run(dir, 'mvn', '-U', '-q', '-B', 'dependency:copy-dependencies', `-DoutputDirectory=${join(dir, 'jars')}`)
    renameSync(join(dir, 'jars'), target)
  })
}

function named(coordinates: string): string {
  const [group, artifact, version] = coordinates.split(':')
  return `<groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version>`
}

function project(text: string, dependencies: readonly string[]): string {
  const all = dependencies.map((coordinates) => `<dependency>${named(coordinates)}</dependency>`)
  return `<project><modelVersion>4.0.0</modelVersion>${text}<dependencies>${all.join('')}</dependencies></project>`
}

/**
 * Packages of Debian with what they need and is not installed here, unpacked into a folder: nothing is installed, and no
 * rights are needed. apt checks the digests that Debian has signed.
 */
export function fetchDebian(packages: readonly string[], target: string): void {
  fetching((dir) => {
    const plan = run(dir, 'apt-get', 'install', '--simulate', '--no-install-recommends', ...packages)
    const missing = [...plan.matchAll(/^Inst (\S+)/gm)].map(([, name = '']) => name)
    run(dir, 'apt-get', 'download', ...(missing.length === 0 ? packages : missing))
    const unpacked = join(dir, 'root')
    for (const file of readdirSync(dir)) run(dir, 'dpkg-deb', '--extract', file, unpacked)
    renameSync(unpacked, target)
  })
}
