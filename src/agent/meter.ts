/** What a resource's provider counts, for people; nothing is decided by it. Invariant: one question at a time, and none of it outlives the server. */
import { statusMetricsMax } from '../protocol/index.ts'
import type { Provider, ProviderContext } from '../provider/index.ts'

export class Meter {
  readonly #provider: Provider | null
  #asking = false
  #values: Readonly<Record<string, number>> | null = null

  /** Only a provider whose metrics cost next to nothing is asked. */
  constructor(provider: Provider | null) {
    this.#provider = provider?.capabilities.metered === true ? provider : null
  }

  /** By the names of the metrics; null where they are not known now. */
  get values(): Readonly<Record<string, number>> | null {
    return this.#values
  }

  /** Asks. `context` answers null while the resource does not serve. */
  async read(context: () => Promise<ProviderContext> | null): Promise<void> {
    if (this.#provider === null || this.#asking) return
    this.#asking = true
    try {
      const serving = await context()
      const metrics = serving === null ? null : await this.#provider.metrics(serving)
      const shown = metrics?.slice(0, statusMetricsMax).map(({ name, value }) => [name, value] as const)
      this.#values = shown === undefined ? null : Object.fromEntries(shown)
    } catch {
      // It will be asked again; that it does not answer is seen elsewhere.
      this.#values = null
    } finally {
      this.#asking = false
    }
  }
}
