/** HAProxy's statistics as the gateway's counters, pure. What it does not count stays empty. */
import { emptyMetrics, mergeMetrics } from '../metrics.ts'
import type { RouteMetrics } from '../metrics.ts'
import type { ServerPath } from './changes.ts'
import type { Backend } from './config.ts'

type Row = Readonly<Record<string, string>>

/** Requests and WebSockets in flight or waiting, by server, over all workers. */
export function loadsOf(workers: readonly (readonly Row[])[]): Map<ServerPath, number> {
  const loads = new Map<ServerPath, number>()
  for (const row of workers.flat()) {
    if (row['svname'] === 'BACKEND' || row['svname'] === 'FRONTEND') continue
    const path: ServerPath = `${row['pxname'] ?? ''}/${row['svname'] ?? ''}`
    loads.set(path, (loads.get(path) ?? 0) + number(row, 'scur') + number(row, 'qcur'))
  }
  return loads
}

/** The counters of a route: those of the worker in charge, and what earlier ones had counted. */
export function countedBy(
  { name, route }: Backend,
  rows: readonly Row[],
  carried: RouteMetrics | undefined,
): RouteMetrics {
  const labels = { route: route.id, app: route.app, part: route.part }
  const counted = emptyMetrics(labels)
  const row = rows.find((one) => one['pxname'] === name && one['svname'] === 'BACKEND') ?? {}
  for (const status of ['1xx', '2xx', '3xx', '4xx', '5xx'] as const)
    counted.requests[status] = number(row, `hrsp_${status}`)
  counted.requests.aborted = number(row, 'cli_abrt')
  counted.bytesIn = number(row, 'bin')
  counted.bytesOut = number(row, 'bout')
  counted.retries = number(row, 'wretr')
  counted.inFlight = number(row, 'scur')
  return carried === undefined ? counted : mergeMetrics(counted, { ...carried, inFlight: 0 })
}

function number(row: Row, column: string): number {
  const value = Number(row[column] ?? 0)
  return Number.isFinite(value) ? value : 0
}
