/** Where a PostgreSQL server comes from: an interface for its drivers, and the choice among what they found. */
import { SteadError } from '../base/index.ts'

/** One usable installation: `initdb` and `postgres` of one major version, readable by every user. */
export interface PostgresBinaries {
  /** Which driver found it, for messages. */
  readonly name: string
  /** Major version, such as '18'. */
  readonly version: string
  /** Directory of the programs. */
  readonly binDir: string
  /** Directories it must be able to read, beside the system's own libraries. */
  readonly reads: readonly string[]
}

/** A link to make in a copy: `path` inside the copy, `target` as the link's text. */
export interface LinkToMake {
  readonly path: string
  readonly target: string
}

/** Makes an immutable copy of a directory with links added, readable by every user, and answers its path. */
export type Materialise = (sourceDir: string, links: readonly LinkToMake[]) => Promise<string>

/** The installation of a version (the newest when null). Throws `database.binaries-missing` and names what there is. */
export function chooseBinaries(found: readonly PostgresBinaries[], version: string | null): PostgresBinaries {
  const newestFirst = [...found].sort((a, b) => Number(b.version) - Number(a.version))
  const chosen = newestFirst.find((binaries) => version === null || binaries.version === version)
  if (chosen !== undefined) return chosen
  const there = newestFirst.map((binaries) => `${binaries.version} (${binaries.name})`).join(', ')
  throw new SteadError({
    code: 'database.binaries-missing',
    message: `there is no PostgreSQL${version === null ? '' : ` ${version}`} on this machine`,
    hint: `Found: ${there === '' ? 'none' : there}. Install the Debian package postgresql-${version ?? '18'}, or the npm package of its binaries.`,
  })
}
