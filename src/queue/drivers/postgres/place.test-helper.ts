/** Places for queues in PostgreSQL in tests: a schema each of one real server, which can be killed and started again. */
import type { QueuePlace } from '../../conformance.ts'
import type { PostgresServer } from '../../../../test/postgres-server.ts'
import { openPostgresQueues } from '../postgres.ts'

/** Makes places on a server; `restart` kills it, so cases with it must run alone. */
export function postgresPlaces(server: () => PostgresServer): (messagesMax: number) => Promise<QueuePlace> {
  let places = 0
  return async (messagesMax) => {
    const options = { url: server().url, schema: `queues_${(places += 1)}`, messagesMax }
    return {
      open: (own = {}) => openPostgresQueues({ ...own, ...options }),
      elsewhere: { module: import.meta.resolve('../postgres.ts'), name: 'openPostgresQueues', options },
      async restart() {
        await server().kill()
        await server().start()
      },
      async [Symbol.asyncDispose]() {},
    }
  }
}
