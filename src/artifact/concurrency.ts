/** Bounded concurrency: many small file operations at once, and one thing at a time. Neither keeps more than it was given. */

/** Runs `work` on every item, at most `limit` at once. Results in the order of the items; the first failure rejects. */
export async function mapLimited<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  const queue = items.entries()
  let failed = false
  const worker = async (): Promise<void> => {
    for (const [index, item] of queue) {
      if (failed) return
      try {
        results[index] = await work(item)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  const settled = await Promise.allSettled(Array.from({ length: Math.min(limit, items.length) }, worker))
  // Only after every worker has stopped: what the caller removes next must not be written to any more.
  for (const outcome of settled) if (outcome.status === 'rejected') throw outcome.reason
  return results
}

/** Runs one thing at a time, in the order of asking. */
export class Mutex {
  #tail: Promise<unknown> = Promise.resolve()

  run<R>(work: () => Promise<R>): Promise<R> {
    const result = this.#tail.then(work)
    this.#tail = result.catch(() => undefined)
    return result
  }
}
