/**
 * Resources by number, so that amounts stand in columns. The first are fixed; countable ones get the next numbers as nodes
 * and jobs name them. A best-effort request is counted in a column of its own, which may be overdrawn by guaranteed ones.
 */
import { tooLarge } from './errors.ts'
import { countedNamesMax } from './limits.ts'

export const cpuColumn = 0
export const memoryColumn = 1
export const networkColumn = 3
/** All tasks' cpu, and all tasks' network, best effort or guaranteed. */
const sharedCpuColumn = 4
const sharedNetworkColumn = 5
const fixedNames: readonly string[] = ['cpu', 'memory', 'disk', 'network', 'best-effort cpu', 'best-effort network']

export class Resources {
  readonly names: string[] = [...fixedNames]
  readonly #columns = new Map<string, number>(fixedNames.map((name, column) => [name, column]))

  /** The column of a resource; the first to name it adds it. Throws `scheduler.too-large`. */
  column(name: string): number {
    const known = this.#columns.get(name)
    if (known !== undefined) return known
    if (this.names.length >= fixedNames.length + countedNamesMax)
      throw tooLarge('names of countable resources', countedNamesMax)
    this.#columns.set(name, this.names.length)
    return this.names.push(name) - 1
  }

  /** The column of a resource that somebody has named; undefined when nobody has. */
  known(name: string): number | undefined {
    return this.#columns.get(name)
  }
}

/** How much must be free for who needs so much: nothing at all for who needs nothing, also where more is taken than there is. */
export function freeFor(needed: number): number {
  return needed === 0 ? -Infinity : needed
}

/** Of a column that counts what another counts too, that other one; undefined: it is none. */
export function baseColumnOf(column: number): number | undefined {
  return column === sharedCpuColumn ? cpuColumn : column === sharedNetworkColumn ? networkColumn : undefined
}

/** The column in which all requests of a squeezable resource count; undefined where nothing can be squeezed. */
export function sharedColumnOf(column: number): number | undefined {
  return column === cpuColumn ? sharedCpuColumn : column === networkColumn ? sharedNetworkColumn : undefined
}
