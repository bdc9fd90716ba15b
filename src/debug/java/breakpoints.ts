/**
 * The breakpoints of one client in a Java machine: where a line of a file is in the code, and what is to happen there.
 *
 * Invariant: those of a file are replaced as a whole; a line without a statement is moved to the next that has one, and said.
 */
import type { Jdwp } from '../jdwp/client.ts'
import { eventKinds, modifiers, type Place, suspendPolicy } from '../jdwp/protocol.ts'
import { noStatement } from '../refusals.ts'
import type { LoadedType, Types } from './types.ts'

export interface Breakpoint {
  readonly id: number
  /** Where it stands in truth. */
  readonly line: number
  /** Empty for none, as the others. */
  readonly condition: string
  readonly log: string
  /** How often it has been passed. */
  hits: number
}

export interface Wanted {
  readonly line: number
  readonly condition: string
  readonly log: string
}

const breakpointsMax = 1000
/** One line may be in several pieces of code: constructors, `finally`. */
const placesMax = 50

export class JavaBreakpoints {
  readonly #jdwp: Jdwp
  readonly #types: Types
  /** By the number of the request. */
  readonly #set = new Map<number, { readonly path: string; readonly breakpoint: Breakpoint }>()
  #lastId = 0

  constructor(jdwp: Jdwp, types: Types) {
    this.#jdwp = jdwp
    this.#types = types
  }

  /** Files of the program that end with the name of this path, below the root of all packages. */
  async files(path: string): Promise<readonly string[]> {
    const name = path.slice(path.lastIndexOf('/') + 1)
    const found = await Promise.all((await this.#typesOf(name)).map(({ id }) => this.#types.source(id)))
    return [...new Set(found.filter((file) => file !== null))]
  }

  /** Replaces those of a file, named as `files` does. For each what stands there, or the sentence why nothing does. */
  async set(path: string, wanted: readonly Wanted[]): Promise<readonly (Breakpoint | string)[]> {
    for (const [request, at] of this.#set) {
      if (at.path !== path) continue
      this.#set.delete(request)
      await this.#jdwp.call('EventRequest.Clear', (to) => to.byte(eventKinds.breakpoint).int(request))
    }
    const places = wanted.length === 0 ? [] : await this.#placesIn(path)
    const shown: (Breakpoint | string)[] = []
    for (const one of wanted) shown.push(await this.#put(path, one, places))
    return shown
  }

  /** What an event of this request was about; undefined for one that has just been taken out. */
  at(request: number): Breakpoint | undefined {
    return this.#set.get(request)?.breakpoint
  }

  async #put(path: string, { line, condition, log }: Wanted, all: readonly LinePlace[]): Promise<Breakpoint | string> {
    // The line itself, or the next that has a statement.
    const found = all.reduce((best, place) => (place.line >= line && place.line < best ? place.line : best), Infinity)
    if (found === Infinity) {
      const { message, hint } = noStatement(path.slice(1), line)
      return `${message}. ${hint}`
    }
    if (this.#set.size >= breakpointsMax) return `there are ${breakpointsMax} breakpoints already`
    const breakpoint = { id: ++this.#lastId, line: found, condition, log, hits: 0 }
    for (const { place } of all.filter((one) => one.line === found).slice(0, placesMax)) {
      const reader = await this.#jdwp.call('EventRequest.Set', (to) => {
        to.byte(eventKinds.breakpoint).byte(suspendPolicy.all).int(1).byte(modifiers.location)
        to.byte(place.typeTag).id(place.type).id(place.method).id(place.index)
      })
      this.#set.set(reader.int(), { path, breakpoint })
    }
    return breakpoint
  }

  /** Where each line of a file begins, once for each method that has it. */
  async #placesIn(path: string): Promise<readonly LinePlace[]> {
    const found: LinePlace[] = []
    for (const { id } of await this.#typesOf(path.slice(path.lastIndexOf('/') + 1))) {
      if ((await this.#types.source(id)) !== path) continue
      for (const method of await this.#types.methods(id)) {
        const first = new Map<number, bigint>()
        for (const { line, index } of await this.#types.lines(id, method.id)) {
          const known = first.get(line)
          if (known === undefined || index < known) first.set(line, index)
        }
        for (const [line, index] of first) {
          found.push({ line, place: { typeTag: classTag, type: id, method: method.id, index } })
        }
      }
    }
    return found
  }

  /** Types that were written in a file of this name. Each is asked once; they are many, and answer fast. */
  async #typesOf(name: string): Promise<readonly LoadedType[]> {
    const all = await this.#types.loaded()
    const sources = await Promise.all(all.map(({ id }) => this.#types.source(id)))
    return all.filter((_, index) => sources[index]?.endsWith(`/${name}`) === true)
  }
}

interface LinePlace {
  readonly line: number
  readonly place: Place
}

const classTag = 1
