/** The last that is asked of data that is left behind. Invariant: it is asked for a limited time. */
import type { Provider, ProviderContext } from '../provider/index.ts'
import { within } from './halts.ts'

/**
 * How long the data of the older generation is tried to be asked for what must outlive it. Somebody may be going back because
 * it does not answer any more.
 */
export const abandonMs: number = 10_000

/** As the work, or throws when the server has ended or the resource is to stop. */
export type OrEnded = <T>(work: Promise<T>) => Promise<T>

/** Has the provider write into `dir` what must outlive the data of the context. */
export async function abandon(
  context: ProviderContext,
  provider: Provider,
  dir: string,
  orEnded: OrEnded,
): Promise<void> {
  const work = orEnded(provider.abandon?.(context, dir) ?? Promise.resolve())
  await within(context.clock, abandonMs, work, () => {
    return new Error(`${context.name} did not say within ${abandonMs} ms what must outlive its data`)
  })
}
