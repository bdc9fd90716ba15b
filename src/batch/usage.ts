/** Accounting: what accounts have used, by app. Invariant: a time that a task held its place is counted once, when it gives it back. */
import type { JobRecord, UsageRecord } from './records.ts'

export class Usage {
  readonly #records = new Map<string, UsageRecord>()
  readonly #changed = new Set<string>()

  restore(records: readonly UsageRecord[]): void {
    for (const record of records) this.#records.set(keyOf(record), record)
  }

  add(
    { submission, by }: JobRecord,
    { gpus }: { readonly gpus: readonly number[] },
    ms: number,
    failed: boolean,
  ): void {
    const account = submission.account ?? by
    const app = submission.app ?? ''
    const key = keyOf({ account, app })
    const before = this.#records.get(key) ?? {
      account,
      app,
      tasks: 0,
      failed: 0,
      cpuSeconds: 0,
      memoryByteSeconds: 0,
      gpuSeconds: 0,
    }
    const seconds = ms / 1000
    this.#records.set(key, {
      account,
      app,
      tasks: before.tasks + 1,
      failed: before.failed + (failed ? 1 : 0),
      cpuSeconds: before.cpuSeconds + submission.needs.cpu * seconds,
      memoryByteSeconds: before.memoryByteSeconds + submission.needs.memoryBytes * seconds,
      gpuSeconds: before.gpuSeconds + (gpus.length * (submission.needs.gpuMilli ?? 1000) * seconds) / 1000,
    })
    this.#changed.add(key)
  }

  all(): readonly UsageRecord[] {
    return [...this.#records.values()]
  }

  /** Those that have changed since the last call. */
  changed(): readonly UsageRecord[] {
    const records = [...this.#changed].flatMap((key) => this.#records.get(key) ?? [])
    this.#changed.clear()
    return records
  }
}

function keyOf({ account, app }: Pick<UsageRecord, 'account' | 'app'>): string {
  return `${account}/${app}`
}
