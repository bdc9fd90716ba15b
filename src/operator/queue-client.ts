/** Asks a running platform about queues. Invariant: what the platform refused with is thrown as it was said. */
import type { QueueName, QueueOperations } from './queues.ts'

/** `value`: how a platform is asked. */
export function queueClient(value: <T>(method: string, path: string, body?: unknown) => Promise<T>): QueueOperations {
  const at = (app: string, rest = ''): string => `/v1/apps/${encodeURIComponent(app)}/queues${rest}`
  const of = (app: string, { part }: QueueName, action: string): string =>
    at(app, `/${encodeURIComponent(part)}/${action}`)
  return {
    list: (app, part) => value('GET', at(app, part === null ? '' : `?${new URLSearchParams({ part }).toString()}`)),
    peek(app, name, shelf, max) {
      const query = new URLSearchParams({
        shelf,
        max: String(max),
        ...(name.queue === null ? {} : { queue: name.queue }),
      })
      return value('GET', `${of(app, name, 'messages')}?${query.toString()}`)
    },
    redrive: async (app, name, ids, max) =>
      (await value<{ count: number }>('POST', of(app, name, 'redrive'), { queue: name.queue, ids, max })).count,
    pause: async (app, name, paused) =>
      (await value<{ paused: boolean }>('POST', of(app, name, paused ? 'pause' : 'resume'), { queue: name.queue }))
        .paused,
    purge: async (app, name, shelf) =>
      (await value<{ count: number }>('POST', of(app, name, 'purge'), { queue: name.queue, shelf })).count,
  }
}
