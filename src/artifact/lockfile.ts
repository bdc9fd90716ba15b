/**
 * What `package-lock.json` promises about the packages it names. Pure. A bundle takes in only packages whose content the
 * lock file fixes by digest: no link, no git or file dependency, none without integrity.
 */
import { SteadError } from '../base/index.ts'

export interface LockedPackages {
  /** Number of packages that are needed to run. */
  readonly count: number
  /** Those that want to run something while they are installed, which they may not. */
  readonly withInstallScript: readonly string[]
}

type Fields = Readonly<Record<string, unknown>>

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * Reads the text of a `package-lock.json`, beside that of the `package.json` it was made for, if there is one. Throws
 * `artifact.dependency-refused` naming the packages that are not fixed. Versions that do not fit are found by npm itself.
 */
export function readLockfile(text: string, manifest: string | null = null): LockedPackages {
  const packages = packagesOf(text)
  const unlocked = dependenciesIn(manifest).filter((name) => packages[`node_modules/${name}`] === undefined)
  if (unlocked.length > 0) {
    throw refused(
      `package.json depends on ${unlocked.slice(0, 5).join(', ')}, which it does not name`,
      'Bring it up to date with `npm install --package-lock-only`.',
    )
  }
  const needed = Object.entries(packages).filter(([path, item]) => path !== '' && item.dev !== true)
  const loose = needed.flatMap(([path, item]) => {
    const fault = faultOf(item)
    return fault === null ? [] : [`${nameOf(path)} ${fault}`]
  })
  if (loose.length > 0) {
    throw refused(
      loose.slice(0, 5).join('; ') + (loose.length > 5 ? `; and ${loose.length - 5} more` : ''),
      'Use versions from a registry, or remove package-lock.json: then the node_modules of the directory is taken as it is.',
    )
  }
  return {
    count: needed.length,
    withInstallScript: needed.filter(([, item]) => item.hasInstallScript === true).map(([path]) => nameOf(path)),
  }
}

/** The names in `dependencies` of a package.json; none where it is not one, which npm then says. */
function dependenciesIn(manifest: string | null): string[] {
  try {
    const value: unknown = JSON.parse(manifest ?? '')
    return isFields(value) && isFields(value.dependencies) ? Object.keys(value.dependencies) : []
  } catch {
    return []
  }
}

function packagesOf(text: string): Readonly<Record<string, Fields>> {
  const hint = 'Make it with `npm install --package-lock-only` of npm 7 or later.'
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw refused('it is not JSON', hint)
  }
  if (!isFields(value) || !isFields(value.packages)) throw refused('it has no "packages"', hint)
  return Object.fromEntries(
    Object.entries(value.packages).filter((entry): entry is [string, Fields] => isFields(entry[1])),
  )
}

function faultOf(item: Fields): string | null {
  if (item.link === true) return 'is a link to a directory'
  // A package inside another's archive is covered by the integrity of that.
  if (item.inBundle === true) return null
  const { resolved, integrity } = item
  if (typeof resolved === 'string' && !/^https?:/.test(resolved)) return `comes from ${resolved}`
  return typeof integrity === 'string' ? null : 'has no integrity'
}

function nameOf(path: string): string {
  return path.replace(/^.*node_modules\//, '')
}

function refused(why: string, hint: string): SteadError {
  return new SteadError({
    code: 'artifact.dependency-refused',
    message: `package-lock.json does not fix what is installed: ${why}`,
    hint,
  })
}
