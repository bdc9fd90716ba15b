/** Which versions a design uses, which are newer, how old they are and how far behind. From the design and a file; nothing is asked. */
import { compareVersions, parseVersion } from '../packages/semver.ts'
import type { Version } from '../packages/semver.ts'
import type { Inventory } from '../inventory.ts'
import type { VersionsFile } from './file.ts'
import { parseImage } from './image.ts'
import { postgresMajorOf, postgresSupport, steadPostgresOf } from './postgres.ts'

export interface UsedVersion {
  /** `npm:name` or `image:repository`: what the file knows it by. */
  readonly key: string
  readonly kind: 'image' | 'package'
  readonly name: string
  readonly version: string
}

export type Behind = 'current' | 'patch' | 'minor' | 'major' | 'unknown'

export interface VersionRow extends UsedVersion {
  readonly newest: string | null
  readonly behind: Behind
  /** Newer releases between the two; null when unknown. */
  readonly releases: number | null
  /** When the version in use was published. Milliseconds since 1970; null when unknown. */
  readonly publishedMs: number | null
  /** When the registry was asked; null when it never was. */
  readonly askedMs: number | null
  /** For PostgreSQL: the day its major version ends. */
  readonly supportedUntil: string | null
}

/** Everything that has a version, once. */
export function usedVersions(inventory: Inventory): readonly UsedVersion[] {
  const found = new Map<string, UsedVersion>()
  for (const { pod } of inventory.workloads)
    for (const { image } of pod.containers) {
      if (image === null || image === '' || image.includes('$')) continue
      const { registry, repository, tag } = parseImage(image)
      const place = `${registry ?? 'docker.io'}/${registry === null && !repository.includes('/') ? 'library/' : ''}${repository}`
      found.set(`${place}:${tag ?? ''}`, {
        key: `image:${place}`,
        kind: 'image',
        name: `${registry === null ? '' : `${registry}/`}${repository}`,
        version: tag ?? 'latest',
      })
    }
  for (const workload of inventory.workloads) {
    const major = steadPostgresOf(workload)
    if (major !== null)
      found.set(`postgres:${major}`, {
        key: 'image:docker.io/library/postgres',
        kind: 'image',
        name: 'postgres',
        version: String(major),
      })
  }
  for (const lock of inventory.lockFiles)
    for (const { name, version, development } of lock.packages)
      if (!development) found.set(`npm:${name}@${version}`, { key: `npm:${name}`, kind: 'package', name, version })
  return [...found.values()].sort((a, b) => (a.kind === b.kind ? (a.name < b.name ? -1 : 1) : a.kind < b.kind ? -1 : 1))
}

export function versionRows(used: readonly UsedVersion[], file: VersionsFile): readonly VersionRow[] {
  return used.map((found) => rowOf(found, file))
}

function rowOf(used: UsedVersion, file: VersionsFile): VersionRow {
  const major = used.kind === 'image' ? postgresMajorOf(`${used.name}:${used.version}`) : null
  const supportedUntil = major === null ? null : (postgresSupport.get(major)?.until ?? null)
  const known = file.known.get(used.key)
  const base = {
    ...used,
    supportedUntil,
    newest: null,
    behind: 'unknown',
    releases: null,
    publishedMs: null,
    askedMs: known?.askedMs ?? null,
  } as const
  if (known === undefined) return base
  const own = splitTag(used.version)
  if (own === null) return base
  const comparable = [...known.versions.keys()]
    .map((text) => ({ text, parsed: splitTag(text) }))
    .filter(
      (entry): entry is { text: string; parsed: Tag } =>
        entry.parsed !== null &&
        entry.parsed.flavour === own.flavour &&
        entry.parsed.version.numbers.length >= own.version.numbers.length,
    )
    .sort((a, b) => compareVersions(a.parsed.version, b.parsed.version))
  const newest = comparable.at(-1)
  if (newest === undefined) return base
  const newer = comparable.filter(({ parsed }) => compareVersions(parsed.version, own.version) > 0)
  return {
    ...base,
    newest: newest.text,
    behind: newer.length === 0 ? 'current' : distance(own.version, newest.parsed.version),
    releases: newer.length,
    publishedMs: known.versions.get(used.version) ?? null,
  }
}

interface Tag {
  readonly version: Version
  /** What follows the version, as in `-alpine`: only tags of one flavour are compared. */
  readonly flavour: string
}

const stages = /^(?:alpha|beta|rc|pre|dev|next|canary|snapshot|nightly)/i

/** A tag as version and flavour. Versions before a release are no versions to compare with. */
function splitTag(text: string): Tag | null {
  const parsed = parseVersion(text)
  if (parsed === null || stages.test(parsed.prerelease)) return null
  return { version: { ...parsed, prerelease: '' }, flavour: parsed.prerelease.replace(/\d+(?:\.\d+)*$/, '') }
}

function distance(own: Version, newest: Version): Behind {
  const [major, minor] = [0, 1].map((index) => (newest.numbers[index] ?? 0) - (own.numbers[index] ?? 0))
  if (major !== 0) return 'major'
  return minor === 0 ? 'patch' : 'minor'
}
