/** PostgreSQL's major versions: when each came, and until when it is mended. Facts of its versioning policy, as of 2026-11. */
import type { Workload } from '../inventory.ts'
import { at, textOf } from '../tree.ts'
import { parseImage } from './image.ts'

export interface MajorSupport {
  readonly released: string
  readonly until: string
}

/** Source: https://www.postgresql.org/support/versioning/ */
export const postgresSupport: ReadonlyMap<number, MajorSupport> = new Map([
  [10, { released: '2017-10-05', until: '2022-11-10' }],
  [11, { released: '2018-10-18', until: '2023-11-09' }],
  [12, { released: '2019-10-03', until: '2024-11-21' }],
  [13, { released: '2020-09-24', until: '2025-11-13' }],
  [14, { released: '2021-09-30', until: '2026-11-12' }],
  [15, { released: '2022-10-13', until: '2027-11-11' }],
  [16, { released: '2023-09-14', until: '2028-11-09' }],
  [17, { released: '2024-09-26', until: '2029-11-08' }],
  [18, { released: '2025-09-25', until: '2030-11-14' }],
])

/** The major version of a PostgreSQL image, or null. */
export function postgresMajorOf(image: string): number | null {
  const { repository, tag } = parseImage(image)
  if (!/(?:^|\/)(?:postgres|postgresql|postgis)$/.test(repository) || tag === null) return null
  const match = /^(\d+)/.exec(tag)
  const major = Number(match?.[1])
  if (match === null || !Number.isInteger(major)) return null
  return major < 10 ? 10 : major
}

/** The major version that a Stead app asks of its database; null for other workloads. */
export function steadPostgresOf(workload: Workload): number | null {
  if (workload.platform !== 'stead' || workload.kind !== 'postgres') return null
  const major = Number(textOf(at(workload.tree, ...workload.podPath, 'config', 'version')))
  return Number.isInteger(major) ? major : null
}
