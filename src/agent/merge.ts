/** Several streams as one, in the order of arrival. Ends when all have ended; when it is left early, so are they. */
export async function* merged<T>(sources: readonly AsyncIterable<T>[]): AsyncGenerator<T> {
  const iterators = sources.map((source) => source[Symbol.asyncIterator]())
  const next = async (iterator: AsyncIterator<T>) => ({ iterator, result: await iterator.next() })
  const pending = new Map(iterators.map((iterator) => [iterator, next(iterator)]))
  try {
    while (pending.size > 0) {
      const { iterator, result } = await Promise.race(pending.values())
      if (result.done === true) pending.delete(iterator)
      else {
        pending.set(iterator, next(iterator))
        yield result.value
      }
    }
  } finally {
    // One that waits ends with the signal it was given; nobody waits for it.
    for (const iterator of iterators) void iterator.return?.()
  }
}
