/** What the provider of a resource tells at a glance, as it was last told. Invariant: one look at a time, however slow it is. */
import { metricsMax } from '../protocol/index.ts'
import type { Provider, ProviderContext } from '../provider/index.ts'

export class Glance {
  #metrics: Readonly<Record<string, number>> | null = null
  #looking = false

  /** For the status of the resource; nothing where nothing is told. */
  get seen(): { readonly metrics?: Readonly<Record<string, number>> } {
    return this.#metrics === null ? {} : { metrics: this.#metrics }
  }

  /** Looks again. One that fails leaves what was seen before: why it fails is told elsewhere. */
  async look(provider: Provider | null, contextOf: () => Promise<ProviderContext>): Promise<void> {
    if (this.#looking || provider?.glance === undefined) return
    this.#looking = true
    try {
      const metrics = await provider.glance(await contextOf())
      this.#metrics = Object.fromEntries(metrics.slice(0, metricsMax).map(({ name, value }) => [name, value]))
    } catch {
      // It does not answer at this moment.
    } finally {
      this.#looking = false
    }
  }
}
