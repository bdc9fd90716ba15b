/**
 * Visits every state that a model can be in, breadth first, and checks each. States are short lists of small numbers.
 * Invariant: the first violation is reported with the shortest way that leads to it.
 */
export type Numbers = readonly number[]

/** What can happen in a state: its name, and the state after it. */
export interface Event {
  readonly name: string
  readonly to: Numbers
}

export interface Exploration {
  readonly states: number
  readonly steps: number
  /** Null: none. Else what is wrong, and the events that lead there. */
  readonly violation: { readonly what: string; readonly way: readonly string[] } | null
}

/** Explores from a state. `wrong` says what is wrong with a state, or null. Throws when there are more states than `statesMax`. */
export function explore(
  start: Numbers,
  eventsOf: (state: Numbers) => readonly Event[],
  wrong: (state: Numbers) => string | null,
  statesMax: number,
): Exploration {
  // States are kept as text, which is small: there are very many of them.
  const seen = new Set<string>([keyOf(start)])
  const queue: string[] = [keyOf(start)]
  const origins: { readonly from: number; readonly name: string }[] = [{ from: -1, name: '' }]
  let steps = 0
  const wayTo = (index: number): string[] => {
    const way: string[] = []
    for (let at = index; at > 0; at = origins[at]?.from ?? 0) way.push(origins[at]?.name ?? '')
    return way.toReversed()
  }
  for (let index = 0; index < queue.length; index += 1) {
    const state = stateOf(queue[index] ?? '')
    const found = wrong(state)
    if (found !== null) return { states: queue.length, steps, violation: { what: found, way: wayTo(index) } }
    for (const { name, to } of eventsOf(state)) {
      steps += 1
      const key = keyOf(to)
      if (seen.has(key)) continue
      if (queue.length >= statesMax) throw new Error(`more than ${statesMax} states`)
      seen.add(key)
      queue.push(key)
      origins.push({ from: index, name })
    }
  }
  return { states: queue.length, steps, violation: null }
}

function keyOf(state: Numbers): string {
  return String.fromCharCode(...state)
}

function stateOf(key: string): Numbers {
  return Array.from({ length: key.length }, (_, index) => key.charCodeAt(index))
}
