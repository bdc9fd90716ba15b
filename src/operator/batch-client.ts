/** Asks a running platform about submitted jobs. Invariant: what the platform refused with is thrown as it was said. */
import type { NodeState, QueueRecord, ReservationRecord, Submission } from '../batch/index.ts'
import type { BatchOperations } from './batch.ts'

/** As `BatchOperations`; who asks is known by the connection. */
export interface BatchClient extends Pick<
  BatchOperations,
  | 'list'
  | 'job'
  | 'tasks'
  | 'why'
  | 'watch'
  | 'logs'
  | 'queues'
  | 'setQueue'
  | 'accounts'
  | 'setAccount'
  | 'reservations'
  | 'release'
  | 'usage'
  | 'nodes'
> {
  submit(submission: Submission): Promise<number>
  cancel(job: number, index: number | null): Promise<void>
  setNode(node: string, state: NodeState): Promise<void>
  reserve(reservation: Omit<ReservationRecord, 'by'>): Promise<void>
}

interface Ways {
  readonly value: <T>(method: string, path: string, body?: unknown) => Promise<T>
  readonly lines: <T>(path: string, signal: AbortSignal) => AsyncIterable<T>
}

export function batchClient({ value, lines }: Ways): BatchClient {
  const at = (job: number, rest = ''): string => `/v1/batch/jobs/${job}${rest}`
  const task = (index: number | null): Record<string, string> => (index === null ? {} : { task: String(index) })
  const query = (values: Record<string, string>): string => `?${new URLSearchParams(values).toString()}`
  return {
    submit: async (submission) => (await value<{ job: number }>('POST', '/v1/batch/jobs', submission)).job,
    async cancel(job, index) {
      await value('POST', at(job, '/cancel'), { task: index })
    },
    list: ({ ended, max }) => value('GET', `/v1/batch/jobs${query({ ended: String(ended), max: String(max) })}`),
    job: (job) => value('GET', at(job)),
    tasks: (job, from, max) => value('GET', at(job, `/tasks${query({ from: String(from), max: String(max) })}`)),
    why: (job, index) => value('GET', at(job, `/why${query(task(index))}`)),
    watch: (job, signal) => lines(at(job, '/watch'), signal),
    logs: (job, index, { tail, follow, signal }) =>
      lines(
        at(
          job,
          `/logs${query({ ...task(index), follow: String(follow), ...(tail === null ? {} : { tail: String(tail) }) })}`,
        ),
        signal,
      ),
    queues: () => value('GET', '/v1/batch/queues'),
    async setQueue(queue: QueueRecord) {
      await value('PUT', `/v1/batch/queues/${encodeURIComponent(queue.name)}`, queue)
    },
    accounts: () => value('GET', '/v1/batch/accounts'),
    async setAccount(account) {
      await value('PUT', `/v1/batch/accounts/${encodeURIComponent(account.name)}`, account)
    },
    reservations: () => value('GET', '/v1/batch/reservations'),
    async reserve(reservation) {
      await value('PUT', `/v1/batch/reservations/${encodeURIComponent(reservation.name)}`, reservation)
    },
    async release(name) {
      await value('DELETE', `/v1/batch/reservations/${encodeURIComponent(name)}`)
    },
    async setNode(node, state) {
      await value('PUT', `/v1/batch/nodes/${encodeURIComponent(node)}`, { state })
    },
    usage: () => value('GET', '/v1/batch/usage'),
    nodes: () => value('GET', '/v1/batch/nodes'),
  }
}
