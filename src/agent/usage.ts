/** What a program uses, for people; nothing is decided by it. */
import type { Sandbox, SandboxUsage } from '../sandbox/index.ts'

export type Usage = Pick<SandboxUsage, 'memoryBytes' | 'cpuSeconds'>

export const unknownUsage: Usage = { memoryBytes: null, cpuSeconds: null }

/** What it uses now; unknown when it has just ended. */
export async function usageOf(sandbox: Sandbox): Promise<Usage> {
  const usage = await sandbox.usage().catch(() => unknownUsage)
  // A hundredth is enough, and keeps what has not moved from being told anew.
  const cpuSeconds = usage.cpuSeconds === null ? null : Math.round(usage.cpuSeconds * 100) / 100
  return { memoryBytes: usage.memoryBytes, cpuSeconds }
}
