/** Versions of packages as semver orders them, and of images as their tags read. */

export interface Version {
  readonly numbers: readonly number[]
  /** What follows a dash: before the release itself. */
  readonly prerelease: string
}

/** A version of one to four numbers; null for anything else. What follows a plus does not count. */
export function parseVersion(text: string): Version | null {
  const match = /^v?(\d{1,9}(?:\.\d{1,9}){0,3})(?:-([0-9A-Za-z.-]+))?(?:\+.*)?$/.exec(text.trim())
  if (match === null) return null
  return { numbers: (match[1] ?? '').split('.').map(Number), prerelease: match[2] ?? '' }
}

/** Negative when the first is older. */
export function compareVersions(a: Version, b: Version): number {
  for (let index = 0; index < Math.max(a.numbers.length, b.numbers.length); index++) {
    const difference = (a.numbers[index] ?? 0) - (b.numbers[index] ?? 0)
    if (difference !== 0) return difference
  }
  if (a.prerelease === b.prerelease) return 0
  if (a.prerelease === '') return 1
  if (b.prerelease === '') return -1
  return comparePrereleases(a.prerelease.split('.'), b.prerelease.split('.'))
}

function comparePrereleases(a: readonly string[], b: readonly string[]): number {
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const [one, other] = [a[index], b[index]]
    if (one === undefined) return -1
    if (other === undefined) return 1
    const numeric = [/^\d+$/.test(one), /^\d+$/.test(other)]
    if (numeric[0] === true && numeric[1] === true && Number(one) !== Number(other)) return Number(one) - Number(other)
    if (numeric[0] !== numeric[1]) return numeric[0] === true ? -1 : 1
    if (one !== other) return one < other ? -1 : 1
  }
  return 0
}
