/** What a program uses, for people; nothing is decided by it. */
import type { Carried } from '../network/index.ts'
import type { LogStanding, Provider, ProviderContext } from '../provider/index.ts'
import type { Sandbox, SandboxUsage } from '../sandbox/index.ts'

export type Usage = Pick<SandboxUsage, 'memoryBytes' | 'cpuSeconds'> & {
  readonly log?: LogStanding
  /** What its link to the outside has carried. */
  readonly carried?: Carried
}

export const unknownUsage: Usage = { memoryBytes: null, cpuSeconds: null }

/** What it uses now; unknown when it has just ended. */
export async function usageOf(sandbox: Sandbox): Promise<Usage> {
  const usage = await sandbox.usage().catch(() => unknownUsage)
  // A hundredth is enough, and keeps what has not moved from being told anew.
  const cpuSeconds = usage.cpuSeconds === null ? null : Math.round(usage.cpuSeconds * 100) / 100
  return { memoryBytes: usage.memoryBytes, cpuSeconds }
}

/** How often the log of a resource is looked at. */
const logLookMs = 30_000

/** How the log of a resource stands, as it was last seen. */
export class LogLook {
  #log: { readonly log?: LogStanding } = {}
  #nextMs = 0

  /** Asks where it is time to; `provider` is null while nothing answers. What cannot be asked is as it was. */
  async seen(
    provider: Provider | null,
    context: () => Promise<ProviderContext>,
  ): Promise<{ readonly log?: LogStanding }> {
    if (provider?.log === undefined) return this.#log
    try {
      const own = await context()
      const nowMs = own.clock.monotonicMs()
      if (nowMs < this.#nextMs) return this.#log
      this.#nextMs = nowMs + logLookMs
      this.#log = { log: await provider.log(own) }
    } catch {
      // What does not answer is told elsewhere.
    }
    return this.#log
  }
}
