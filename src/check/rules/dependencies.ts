/** Rules about packages and the versions of what runs: lock files, where packages come from, how old they are, known gaps. */
import type { LockedPackage, LockFile } from '../inventory.ts'
import { runningContainers } from '../inventory.ts'
import { postgresMajorOf, postgresSupport, steadPostgresOf } from '../versions/postgres.ts'
import { usedVersions, versionRows } from '../versions/report.ts'
import { yaml } from './inputs.ts'
import { eachWorkload, fail, listed, pass, unknown } from './rule.ts'
import type { CheckOptions, Example, Rule, Severity, Verdict } from './rule.ts'

const hosts: readonly string[] = ['registry.npmjs.org', 'registry.yarnpkg.com']
const dayMs = 86_400_000
/** A release that is younger than this has not been looked at by many. Attacks of the last years were found within days. */
const ageMinDays = 3

const lock = (entry: Readonly<Record<string, unknown>>): Example => ({
  path: 'package-lock.json',
  text: `${JSON.stringify({ name: 'web', lockfileVersion: 3, packages: { '': { name: 'web' }, 'node_modules/left': { version: '1.3.0', ...entry } } }, null, 2)}\n`,
})

const sound = { resolved: 'https://registry.npmjs.org/left/-/left-1.3.0.tgz', integrity: `sha512-${'A'.repeat(86)}==` }

/** One verdict for each lock file, with the packages that a rule finds. */
function eachLock(
  find: (found: LockedPackage, options: CheckOptions) => boolean,
  message: (names: string) => string,
  left: string,
): Rule['check'] {
  return function* (inventory, options) {
    for (const file of inventory.lockFiles) {
      const bad = file.packages.filter((found) => find(found, options))
      const [first] = bad
      if (first === undefined) yield pass(file)
      else yield fail(file, message(listed(bad.map(({ name }) => name))), first.path, { left })
    }
  }
}

function isRemote({ resolved, bundled }: LockedPackage): boolean {
  return !bundled && (resolved === null || !resolved.startsWith('file:'))
}

function hostOf(resolved: string): string | null {
  const match = /^https?:\/\/([^/]+)/.exec(resolved)
  return match?.[1] ?? null
}

const unreviewed = /^(?:git(?:\+|:)|github:|gitlab:|bitbucket:|http:)/

function* vulnerable(file: LockFile, options: CheckOptions): Generator<Verdict> {
  const { advisories } = options
  if (advisories === undefined) {
    yield unknown(file, 'no advisories were given, so nothing is known about its packages: --advisories FILE')
    return
  }
  const days = Math.floor((options.nowMs - advisories.newestMs) / dayMs)
  let found = false
  for (const locked of file.packages) {
    const [first, ...more] = advisories.find('npm', locked.name, locked.version)
    if (first === undefined) continue
    found = true
    const severity: Severity =
      first.severity === 'critical'
        ? 'critical'
        : first.severity === 'low'
          ? 'low'
          : first.severity === 'moderate'
            ? 'medium'
            : 'high'
    const also = more.length === 0 ? '' : ` and ${more.length} more`
    yield fail(
      file,
      `${locked.name} ${locked.version} has ${first.id}${also}: ${first.summary} (advisories of ${days} days ago)`,
      locked.path,
      { left: 'Take a version that mends it.', severity },
    )
  }
  if (found) return
  if (days > 30)
    yield unknown(
      file,
      `the newest of ${advisories.count} advisories is ${days} days old: what came since is not known`,
    )
  else yield pass(file)
}

function* tooNew(file: LockFile, options: CheckOptions): Generator<Verdict> {
  const young: { readonly name: string; readonly path: LockedPackage['path'] }[] = []
  let asked = 0
  for (const { name, version, path } of file.packages) {
    const publishedMs = options.versions?.known.get(`npm:${name}`)?.versions.get(version)
    if (publishedMs === undefined || publishedMs === null) continue
    asked++
    if (options.nowMs - publishedMs < ageMinDays * dayMs) young.push({ name: `${name} ${version}`, path })
  }
  const [first] = young
  if (first !== undefined)
    yield fail(file, `${listed(young.map(({ name }) => name))} is younger than ${ageMinDays} days`, first.path, {
      left: 'Wait, or take the release before; npm does so with min-release-age.',
    })
  else if (asked === 0)
    yield unknown(file, 'when its packages were published is not known: `stead versions fetch` asks')
  else yield pass(file)
}

const tooNewExample = lock(sound)

export const dependencyRules: readonly Rule[] = [
  {
    id: 'dependencies.no-integrity',
    category: 'security',
    severity: 'high',
    title: 'Every package has a checksum',
    reason: 'Without one, whatever the registry or somebody on the way sends is installed.',
    reference: 'https://docs.npmjs.com/cli/v11/configuring-npm/package-lock-json',
    cause: 'dependencies',
    bad: lock({ resolved: sound.resolved }),
    good: lock(sound),
    check: eachLock(
      (found) => isRemote(found) && found.integrity === null && !unreviewed.test(found.resolved ?? ''),
      (names) => `${names} has no checksum`,
      'Install again with a registry that gives checksums: the lock file then has them.',
    ),
  },
  {
    id: 'dependencies.weak-integrity',
    category: 'security',
    severity: 'medium',
    title: 'Checksums are strong',
    reason: 'Two files with one SHA-1 can be made.',
    reference: 'https://docs.npmjs.com/cli/v11/configuring-npm/package-lock-json',
    cause: 'dependencies',
    bad: lock({ ...sound, integrity: 'sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=' }),
    good: lock(sound),
    check: eachLock(
      ({ integrity }) => integrity !== null && !/sha(?:256|384|512)-/.test(integrity),
      (names) => `${names} has only a SHA-1 checksum`,
      'Install it again: registries give SHA-512 now.',
    ),
  },
  {
    id: 'dependencies.foreign-host',
    category: 'security',
    severity: 'high',
    title: 'Packages come from known registries',
    reason: 'A changed address in a lock file is easily overlooked in a review, and installs what its owner likes.',
    reference: 'https://docs.npmjs.com/cli/v11/configuring-npm/package-lock-json',
    cause: 'dependencies',
    bad: lock({ ...sound, resolved: 'https://packages.example.net/left-1.3.0.tgz' }),
    good: lock(sound),
    check: eachLock(
      ({ resolved }, options) => {
        const host = resolved === null ? null : hostOf(resolved)
        return host !== null && !(options.registries ?? hosts).includes(host)
      },
      (names) => `${names} comes from another host than the registry`,
      'When the host is yours, name it with --registry.',
    ),
  },
  {
    id: 'dependencies.git-or-url',
    category: 'security',
    severity: 'medium',
    title: 'Packages come from a registry, not from a repository or an address',
    reason: 'A branch moves, a repository is renamed or deleted, and nobody signs what is in it.',
    reference: 'https://docs.npmjs.com/cli/v11/configuring-npm/package-json#dependencies',
    cause: 'dependencies',
    bad: lock({ resolved: 'git+ssh://git@github.com/example/left.git#0123456789abcdef0123456789abcdef01234567' }),
    good: lock(sound),
    check: eachLock(
      ({ resolved }) => resolved !== null && unreviewed.test(resolved),
      (names) => `${names} comes from a repository or over plain HTTP`,
      'Publish it to a registry, your own where it must be.',
    ),
  },
  {
    id: 'dependencies.install-script',
    category: 'security',
    severity: 'medium',
    title: 'No package runs a program when it is installed',
    reason:
      'Install scripts are how stolen packages run on the machines of developers and builders, with their keys in reach.',
    reference: 'https://docs.npmjs.com/cli/v11/using-npm/scripts',
    cause: 'dependencies',
    bad: lock({ ...sound, hasInstallScript: true }),
    good: lock(sound),
    check: eachLock(
      ({ installScript }) => installScript,
      (names) => `${names} runs a program at installation`,
      'Install with --ignore-scripts, and allow by name the ones that need it.',
    ),
  },
  {
    id: 'dependencies.no-lock-file',
    category: 'security',
    severity: 'medium',
    title: 'What is installed is pinned',
    reason: 'Without a lock file every installation can bring other versions than the one that was tested.',
    reference: 'https://docs.npmjs.com/cli/v11/configuring-npm/package-lock-json',
    cause: 'pinning',
    bad: { path: 'package.json', text: '{ "name": "web", "dependencies": { "left": "^1.3.0" } }\n' },
    good: { path: 'package.json', text: '{ "name": "web", "dependencies": { "left": "1.3.0" } }\n' },
    check: function* (inventory) {
      const folder = (path: string): string => path.slice(0, path.lastIndexOf('/') + 1)
      const locked = new Set(
        [...inventory.lockFiles, ...inventory.unknowns.filter(({ platform }) => platform === 'npm')].map(({ source }) =>
          folder(source.path),
        ),
      )
      for (const manifest of inventory.manifests) {
        const loose = manifest.dependencies.filter(
          ({ range }) => !/^\d+\.\d+\.\d+/.test(range) && !/^(?:file|link|workspace):/.test(range),
        )
        const [first] = loose
        const above = [...locked].some((path) => manifest.source.path.startsWith(path))
        if (above || first === undefined) yield pass(manifest)
        else
          yield fail(
            manifest,
            `no lock file pins ${listed(loose.map(({ name }) => name))}`,
            ['dependencies', first.name],
            { left: 'Keep the lock file that the package manager writes in the repository.' },
          )
      }
    },
  },
  {
    id: 'dependencies.known-vulnerability',
    category: 'security',
    severity: 'high',
    title: 'No package has a known vulnerability',
    reason: 'Known gaps are tried by programs, everywhere, all the time.',
    reference: 'https://ossf.github.io/osv-schema/',
    cause: 'dependencies',
    bad: lock(sound),
    good: lock({ ...sound, version: '1.4.0' }),
    check: function* (inventory, options) {
      for (const file of inventory.lockFiles) yield* vulnerable(file, options)
    },
  },
  {
    id: 'dependencies.too-new',
    category: 'security',
    severity: 'medium',
    title: 'Releases are old enough to have been looked at',
    reason:
      'Stolen releases of the last years were found and taken away within hours or days: who waits does not get them.',
    reference: 'https://docs.npmjs.com/cli/v11/using-npm/config#min-release-age',
    cause: 'dependencies',
    bad: tooNewExample,
    good: lock({ ...sound, version: '1.2.0' }),
    check: function* (inventory, options) {
      for (const file of inventory.lockFiles) yield* tooNew(file, options)
    },
  },
  {
    id: 'dependencies.far-behind',
    category: 'security',
    severity: 'low',
    title: 'Images are not a major version behind',
    reason: 'What is far behind gets no fixes, and the way back grows with every month.',
    reference: 'https://endoflife.date/',
    cause: 'dependencies',
    bad: yaml('services:\n  web:\n    image: nginx:1.20.0', 'compose.yaml'),
    good: yaml('services:\n  web:\n    image: nginx:1.29.0', 'compose.yaml'),
    check: function* (inventory, options) {
      const file = options.versions
      if (file === undefined) return
      const rows = new Map(versionRows(usedVersions(inventory), file).map((row) => [`${row.name}:${row.version}`, row]))
      for (const workload of inventory.workloads)
        for (const container of runningContainers(workload.pod)) {
          const row = container.image === null ? undefined : rows.get(container.image.split('@')[0] ?? '')
          if (row === undefined || row.behind === 'unknown') continue
          if (row.behind !== 'major' && (row.releases ?? 0) < 10) yield pass(workload)
          else
            yield fail(
              workload,
              `${row.name} ${row.version} is ${row.releases ?? 0} releases behind ${row.newest ?? ''}`,
              [...container.path, 'image'],
              { left: 'Read what changed between the two, and go there in steps.' },
            )
        }
    },
  },
  {
    id: 'dependencies.end-of-life',
    category: 'security',
    severity: 'high',
    title: 'PostgreSQL is of a version that is still mended',
    reason: 'After five years a major version gets no more fixes, those for gaps included.',
    reference: 'https://www.postgresql.org/support/versioning/',
    cause: 'dependencies',
    bad: yaml('services:\n  db:\n    image: postgres:12.3', 'compose.yaml'),
    good: yaml('services:\n  db:\n    image: postgres:18.1', 'compose.yaml'),
    check: eachWorkload((workload, _inventory, options) => {
      for (const { image, path } of workload.pod.containers) {
        const major = image === null ? steadPostgresOf(workload) : postgresMajorOf(image)
        if (major === null) continue
        const support = postgresSupport.get(major)
        if (support === undefined)
          return unknown(workload, `PostgreSQL ${major} is newer than what is known here`, ...path, 'image')
        const endMs = Date.parse(support.until)
        if (endMs < options.nowMs)
          return fail(workload, `PostgreSQL ${major} has had no fixes since ${support.until}`, [...path, 'image'], {
            left: 'Upgrade with pg_upgrade or a dump; try it on a copy first.',
          })
        return pass(workload)
      }
      return null
    }),
  },
]
