/** Keys that live as long as this process: for tests, and for a vault in memory. */
import type { WrappingKey } from '../envelope.ts'
import type { KeySource } from '../keys.ts'

/** Makes a source that holds nothing yet. */
export function memoryKeys(): KeySource {
  let held: readonly WrappingKey[] | null = null
  return {
    place: 'the memory of this process',
    read: () => Promise.resolve(held),
    writeFirst(keys) {
      held ??= [...keys]
      return Promise.resolve(held)
    },
    write(keys) {
      held = [...keys]
      return Promise.resolve()
    },
  }
}
