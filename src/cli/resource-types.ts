/** The resource types that every Stead knows, for a control that serves none itself: their names, ports, and what consumers are told. */
import { stateProvider } from '../agent/index.ts'
import { postgresProvider } from '../database/index.ts'
import type { Provider } from '../provider/index.ts'
import { bucketProvider } from '../objects/index.ts'
import { queueProvider } from '../queue/index.ts'
import { secretProvider } from '../secrets/index.ts'

export function resourceTypes(): Pick<Provider, 'type' | 'port' | 'bind'>[] {
  const postgres = postgresProvider({ binaries: [] })
  const own = { own: nowhere }
  return [postgres, queueProvider(own), bucketProvider(own), secretProvider(), stateProvider()]
}

/** What serves none runs none of their programs. */
function nowhere(): Promise<never> {
  return Promise.reject(new Error('this process serves no resources'))
}
