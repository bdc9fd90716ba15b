/** The resource types that every Stead knows, for a control that serves none itself: their names, ports, and what consumers are told. */
import { stateProvider } from '../agent/index.ts'
import { postgresProvider } from '../database/index.ts'
import type { Provider } from '../provider/index.ts'
import { queueProvider } from '../queue/index.ts'
import { secretProvider } from '../secrets/index.ts'

export function resourceTypes(): Pick<Provider, 'type' | 'port' | 'bind'>[] {
  // Only what needs no server is asked of them here.
  const own = (): Promise<never> => Promise.reject(new Error('a control runs no servers'))
  return [postgresProvider({ binaries: [] }), queueProvider({ own }), secretProvider(), stateProvider()]
}
