/**
 * Judges a history of a queue under trouble, purely: nothing that was accepted is lost, nothing is delivered more often than
 * trouble explains, and messages of a key never overtake each other.
 */

/** What processes have seen, in the order in which each saw it. */
export type HistoryEvent =
  /** The sender was told that message `n` of `key` is safe. */
  | { readonly kind: 'sent'; readonly key: string; readonly n: number }
  /** A handler was started for it. */
  | { readonly kind: 'started'; readonly key: string; readonly n: number }
  /** Its consumer was told that it is settled. */
  | { readonly kind: 'done'; readonly key: string; readonly n: number }
  /** A process was killed, a connection cut, a server stopped: so many messages may have been in hand. */
  | { readonly kind: 'trouble'; readonly inHandMax: number }

export interface HistoryRules {
  /** Whether `n` of one key must not go back: order, also after trouble. */
  readonly ordered: boolean
}

/** What is wrong with the history; empty if nothing. */
export function judge(history: readonly HistoryEvent[], rules: HistoryRules): readonly string[] {
  const starts = new Map<string, number>()
  const furthest = new Map<string, number>()
  const wrong: string[] = []
  let excused = 0
  for (const event of history) {
    if (event.kind === 'trouble') excused += event.inHandMax
    if (event.kind !== 'started') continue
    const name = `${event.key}/${event.n}`
    starts.set(name, (starts.get(name) ?? 0) + 1)
    const last = furthest.get(event.key) ?? 0
    if (rules.ordered && event.n < last) wrong.push(`${name} was started after ${event.key}/${last}`)
    furthest.set(event.key, Math.max(last, event.n))
  }
  for (const event of history) {
    if (event.kind === 'sent' && !starts.has(`${event.key}/${event.n}`)) wrong.push(`${event.key}/${event.n} was lost`)
  }
  const repeated = [...starts.values()].reduce((sum, count) => sum + count - 1, 0)
  if (repeated > excused) wrong.push(`${repeated} were started again, and trouble explains ${excused}`)
  return wrong
}
