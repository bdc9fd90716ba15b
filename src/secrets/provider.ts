/**
 * The provider of `secret`: a value that the platform keeps and a consumer reads from a file. It is no server, and shows
 * that the interface of providers does not need one: what there is to administer is nothing.
 *
 * Invariant: the value is in no environment variable and in no directory of the app's data; it is handed over once, as
 * the file of a binding.
 */
import { SteadError } from '../base/index.ts'
import type { Provider } from '../provider/index.ts'

const valueBytesMax = 65_536

/** Makes the provider for resources of type `secret`. The value is the grant's `password`. */
export function secretProvider(): Provider {
  const nothing = async (): Promise<void> => {}
  return {
    type: 'secret',
    port: null,
    capabilities: { quiesce: 'none', diff: 'exact' },
    provision: () => Promise.resolve(null),
    ready: nothing,
    prepare: nothing,
    grant: nothing,
    revoke: nothing,
    bind(resource, grant) {
      const bytes = Buffer.byteLength(grant.password)
      if (bytes > 0 && bytes <= valueBytesMax) {
        return { env: {}, files: [{ name: resource.name, content: grant.password }] }
      }
      throw new SteadError({
        code: 'secrets.bad-value',
        message: `secret ${resource.name} of ${resource.app} has ${bytes} bytes; it can have 1 to ${valueBytesMax}`,
        hint: bytes === 0 ? 'Set its value.' : 'Keep large things in a file of the app or in a database.',
      })
    },
    quiesce: () => Promise.resolve({ [Symbol.asyncDispose]: nothing }),
    recover: nothing,
    // The data of the app holds no value, so no two states of it differ in one.
    diff: () => Promise.resolve({ items: [], exact: true }),
    metrics: () => Promise.resolve([]),
  }
}
