/** The resource types that every Stead knows, for a control that serves none itself. */
import { postgresProvider } from '../database/index.ts'
import type { Provider } from '../provider/index.ts'
import { secretProvider } from '../secrets/index.ts'

export function resourceTypes(): Pick<Provider, 'type' | 'port'>[] {
  return [postgresProvider({ binaries: [] }), secretProvider()]
}
