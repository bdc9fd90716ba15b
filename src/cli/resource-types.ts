/**
 * The resource types that every Stead knows, for a control that serves none itself: their names and ports, and what consumers
 * are told. Invariant: what is known from the start is the same as what the rooms say, which are loaded when they are asked:
 * control stays for months, and needs none of their drivers.
 */
import type { Provider } from '../provider/index.ts'

/** Names and ports. */
export const resourcePorts: readonly Pick<Provider, 'type' | 'port'>[] = [
  { type: 'postgres', port: 5432 },
  { type: 'queue', port: 7080 },
  { type: 'bucket', port: 9000 },
  { type: 'secret', port: null },
  { type: 'state', port: null },
]

/** The same from their rooms, with what consumers are told. */
export async function resourceTypes(): Promise<Pick<Provider, 'type' | 'port' | 'bind'>[]> {
  const [{ postgresProvider }, { queueProvider }, { bucketProvider }, { secretProvider }, { stateProvider }] =
    await Promise.all([
      import('../database/index.ts'),
      import('../queue/index.ts'),
      import('../objects/index.ts'),
      import('../secrets/index.ts'),
      import('../agent/index.ts'),
    ])
  const own = { own: nowhere }
  return [
    postgresProvider({ binaries: [] }),
    queueProvider(own),
    bucketProvider(own),
    secretProvider(),
    stateProvider(),
  ]
}

/** What serves none runs none of their programs. */
function nowhere(): Promise<never> {
  return Promise.reject(new Error('this process serves no resources'))
}
