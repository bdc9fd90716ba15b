/**
 * The provider of `secret`: a value that the platform keeps and a consumer reads from a file. It is no server, and shows
 * that the interface of providers does not need one: what there is to administer is nothing.
 *
 * Invariant: the value is in no environment variable and in no directory of the app's data; it is handed over once, as
 * the file of a binding.
 */
import type { Provider } from '../provider/index.ts'
import { checkValue } from './vault.ts'

/** Makes the provider for resources of type `secret`. The value is the grant's `password`. */
export function secretProvider(): Provider {
  const nothing = async (): Promise<void> => {}
  return {
    type: 'secret',
    port: null,
    capabilities: { quiesce: 'none', diff: 'exact' },
    provision: () => Promise.resolve(null),
    ready: nothing,
    prepare: () => Promise.resolve({ schema: null }),
    grant: nothing,
    revoke: nothing,
    bind(resource, grant) {
      checkValue(resource, Buffer.from(grant.password))
      return { env: {}, files: [{ name: resource.name, content: grant.password }] }
    },
    quiesce: () => Promise.resolve({ [Symbol.asyncDispose]: nothing }),
    recover: nothing,
    // The data of the app holds no value, so no two states of it differ in one.
    diff: () => Promise.resolve({ items: [], exact: true }),
    metrics: () => Promise.resolve([]),
  }
}
