/**
 * What a client has been told of while the program stands still: its frames, and what can be opened in them, by number.
 *
 * Invariant: the numbers hold until the program goes on, and for nothing afterwards.
 */
import { badRequest, refused } from '../refusals.ts'
import { faults, type Place, placeIn } from '../jdwp/protocol.ts'
import { type Jdwp, JdwpFault } from '../jdwp/client.ts'
import { evaluate, type Program } from './evaluate.ts'
import type { Named, Objects } from './objects.ts'
import { arrayTag, type JavaValue } from './value.ts'

export interface JavaFrame {
  readonly id: number
  readonly thread: bigint
  readonly frame: bigint
  readonly place: Place
}

/** Elements of an array that are shown at once, where the client does not say. */
const elementsMax = 100

export class Frames {
  readonly #jdwp: Jdwp
  readonly #objects: Objects
  #frames: JavaFrame[] = []
  /** What can be opened, from 1. */
  #opened: (JavaFrame | JavaValue)[] = []

  constructor(jdwp: Jdwp, objects: Objects) {
    this.#jdwp = jdwp
    this.#objects = objects
  }

  forget(): void {
    this.#frames = []
    this.#opened = []
  }

  /** The frames of a thread that stands still, the innermost first. None for one that has ended. */
  async of(thread: bigint): Promise<readonly JavaFrame[]> {
    try {
      const reader = await this.#jdwp.call('ThreadReference.Frames', (to) => to.id(thread).int(0).int(-1))
      const found = reader.list((row) => ({ frame: row.id(), place: placeIn(row) }))
      return found.map(({ frame, place }) => this.#numbered({ thread, frame, place }))
    } catch (error) {
      if (error instanceof JdwpFault && error.code === faults.threadNotSuspended) {
        throw refused('the program runs', 'Pause it, or wait for a breakpoint.')
      }
      if (error instanceof JdwpFault) return []
      throw error
    }
  }

  /** Throws `debug.refused` where there is none. */
  at(id: number): JavaFrame {
    const frame = this.#frames[id - 1]
    if (frame === undefined) throw refused('the program is not stopped', 'Pause it, or wait for a breakpoint.')
    return frame
  }

  /** What can be opened by a client; 0 for what holds nothing. */
  open(what: JavaFrame | JavaValue): number {
    if ('kind' in what && (what.kind !== 'reference' || what.id === 0n)) return 0
    return this.#opened.push(what)
  }

  /** What is in something that was opened. */
  async inside(reference: number, from: number, count: number): Promise<readonly Named[]> {
    const what = this.#opened[reference - 1]
    if (what === undefined) throw refused('that is no more: the program went on', 'Ask again where it stands now.')
    if (!('kind' in what)) return await this.#localsOf(what)
    if (what.kind !== 'reference') return []
    if (what.tag !== arrayTag)
      return (await this.#objects.text(what)) === null ? await this.#objects.fields(what.id) : []
    const length = await this.#objects.lengthOf(what.id)
    const end = Math.min(length, from + (count === 0 ? elementsMax : count))
    const type = (await this.#objects.type(what)).replace(/\[\]$/, '')
    const values = end <= from ? [] : await this.#objects.elements(what.id, from, end - from)
    return values.map((value, index) => ({ name: `[${from + index}]`, value, type }))
  }

  /** Throws `debug.refused` where there is no such frame, and what `evaluate` throws. */
  async evaluate(frameId: number, text: string): Promise<JavaValue> {
    return await evaluate(text, this.#program(this.at(frameId)))
  }

  #numbered(frame: Omit<JavaFrame, 'id'>): JavaFrame {
    const numbered = { ...frame, id: this.#frames.length + 1 }
    this.#frames.push(numbered)
    return numbered
  }

  async #localsOf({ thread, frame, place }: JavaFrame): Promise<readonly Named[]> {
    const self = await this.#objects.thisOf(thread, frame)
    const own = self === null ? [] : [{ name: 'this', value: self, type: await this.#objects.type(self) }]
    return [...own, ...(await this.#objects.locals(thread, frame, place))]
  }

  #program({ thread, frame, place }: JavaFrame): Program {
    const objects = this.#objects
    const noName = (name: string): Error =>
      badRequest(`there is no '${name}' where the program stands`, 'Name a variable, or a field of its object.')
    const fieldOf = async (of: JavaValue, name: string): Promise<JavaValue | null> => {
      if (of.kind !== 'reference')
        throw badRequest(`a number or a text has no '${name}'`, 'Ask for a field of an object.')
      if (of.id === 0n) throw badRequest(`'${name}' is asked of null`, 'Compare it with null first.')
      if (of.tag === arrayTag && name === 'length') {
        return { kind: 'whole', type: 'int', value: BigInt(await objects.lengthOf(of.id)) }
      }
      return (await objects.fields(of.id)).find((field) => field.name === name)?.value ?? null
    }
    return {
      text: (of) => objects.text(of),
      name: async (name) => {
        const self = await objects.thisOf(thread, frame)
        if (name === 'this' && self !== null) return self
        const variable = (await this.#variablesOrNone(thread, frame, place)).find((one) => one.name === name)
        if (variable !== undefined) return variable.value
        const field = self === null ? null : await fieldOf(self, name)
        const found = field ?? (await objects.staticField(place.type, name))
        if (found === null) throw noName(name)
        return found
      },
      async field(of, name) {
        const found = await fieldOf(of, name)
        if (found !== null) return found
        throw badRequest(`${await objects.type(of)} has no field '${name}'`, 'Ask for one that it has.')
      },
      async element(of, index) {
        if (of.kind !== 'reference' || of.tag !== arrayTag) {
          throw badRequest('only arrays have elements', 'Ask a list for its fields.')
        }
        const length = await objects.lengthOf(of.id)
        const [found] = index >= 0 && index < length ? await objects.elements(of.id, index, 1) : []
        if (found === undefined)
          throw badRequest(`the array has ${length} elements, and none at ${index}`, 'From 0 on.')
        return found
      },
      async call(of, name) {
        const self = of ?? (await objects.thisOf(thread, frame))
        if (self === null || self.kind !== 'reference' || self.id === 0n) {
          throw badRequest(`${name}() is asked of what is no object`, 'Ask an object.')
        }
        return await objects.call(thread, self.id, name)
      },
    }
  }

  /** A method that was built without the names of its variables has fields all the same. */
  async #variablesOrNone(thread: bigint, frame: bigint, place: Place): Promise<readonly Named[]> {
    try {
      return await this.#objects.locals(thread, frame, place)
    } catch (error) {
      if (error instanceof JdwpFault && error.code === faults.absentInformation) return []
      throw error
    }
  }
}
