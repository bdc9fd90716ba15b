/**
 * The types of a Java machine: their names, methods, fields and lines.
 *
 * Invariant: what a type is made of is asked once, because it does not change while the type is there.
 */
import { type Jdwp, JdwpFault } from '../jdwp/client.ts'
import type { Place } from '../jdwp/protocol.ts'
import { shortName, typeOfSignature } from './value.ts'

export interface Member {
  readonly id: bigint
  readonly name: string
  readonly signature: string
  readonly isStatic: boolean
}

export interface Variable {
  readonly name: string
  readonly signature: string
  readonly slot: number
  /** Where in the code of its method it has a value. */
  readonly from: bigint
  readonly to: bigint
}

export interface Line {
  readonly index: bigint
  readonly line: number
}

export interface LoadedType {
  readonly id: bigint
  readonly signature: string
}

const staticFlag = 0x0008
const superTypesMax = 50
/** Of the platform itself: nobody has their sources in a project. */
const ofPlatform = /^\[|^L(?:java|javax|jdk|sun|com\/sun)\//

export class Types {
  readonly #jdwp: Jdwp
  readonly #signatures = memory<string>()
  readonly #sources = memory<string | null>()
  readonly #methods = memory<readonly Member[]>()
  readonly #fields = memory<readonly Member[]>()
  readonly #lines = memory<readonly Line[]>()
  readonly #variables = memory<readonly Variable[]>()
  readonly #upwards = memory<readonly bigint[]>()

  constructor(jdwp: Jdwp) {
    this.#jdwp = jdwp
  }

  /** Types that are loaded now, without those of the platform. */
  async loaded(): Promise<readonly LoadedType[]> {
    const reader = await this.#jdwp.call('VirtualMachine.AllClasses')
    const all = reader.list((row) => {
      row.byte()
      const found = { id: row.id(), signature: row.text() }
      row.int()
      return found
    })
    return all.filter(({ signature }) => !ofPlatform.test(signature))
  }

  /** As a program writes it, with its package. */
  async name(type: bigint): Promise<string> {
    return typeOfSignature(await this.signature(type))
  }

  signature(type: bigint): Promise<string> {
    return this.#signatures(`${type}`, async () =>
      (await this.#jdwp.call('ReferenceType.Signature', (to) => to.id(type))).text(),
    )
  }

  /** The file that it was written in, as a path below the root of all packages; null where it does not say. */
  source(type: bigint): Promise<string | null> {
    return this.#sources(`${type}`, async () => {
      try {
        const name = (await this.#jdwp.call('ReferenceType.SourceFile', (to) => to.id(type))).text()
        const signature = await this.signature(type)
        return `/${signature.slice(1, signature.lastIndexOf('/') + 1)}${name}`
      } catch (error) {
        return without(error, null)
      }
    })
  }

  methods(type: bigint): Promise<readonly Member[]> {
    return this.#methods(`${type}`, () => this.#members('ReferenceType.Methods', type))
  }

  /** Its own, without those that it inherits. */
  fields(type: bigint): Promise<readonly Member[]> {
    return this.#fields(`${type}`, () => this.#members('ReferenceType.Fields', type))
  }

  /** In the order of the code; none for a method without code, or without lines. */
  lines(type: bigint, method: bigint): Promise<readonly Line[]> {
    return this.#lines(`${type} ${method}`, async () => {
      try {
        const reader = await this.#jdwp.call('Method.LineTable', (to) => to.id(type).id(method))
        reader.long()
        reader.long()
        return reader.list((row) => ({ index: row.long(), line: row.int() }))
      } catch (error) {
        return without(error, [])
      }
    })
  }

  /** 0 where it is not known. */
  async lineOf({ type, method, index }: Place): Promise<number> {
    const before = (await this.lines(type, method)).filter((line) => line.index <= index)
    return before.toSorted((a, b) => Number(b.index - a.index))[0]?.line ?? 0
  }

  /** The method's name with that of its class, without the package. */
  async nameOfPlace({ type, method }: Place): Promise<string> {
    const found = (await this.methods(type)).find(({ id }) => id === method)
    return `${shortName(await this.name(type))}.${found?.name ?? '?'}`
  }

  /** Throws `JdwpFault` where it was built without their names. */
  variables(type: bigint, method: bigint): Promise<readonly Variable[]> {
    return this.#variables(`${type} ${method}`, async () => {
      const reader = await this.#jdwp.call('Method.VariableTable', (to) => to.id(type).id(method))
      reader.int()
      const all = reader.list((row) => {
        const from = row.long()
        const [name, signature, length, slot] = [row.text(), row.text(), row.int(), row.int()]
        return { name, signature, slot, from, to: from + BigInt(length) }
      })
      return all.filter(({ name }) => name !== 'this')
    })
  }

  /** A class and those that it comes from, itself first. */
  upwards(type: bigint): Promise<readonly bigint[]> {
    return this.#upwards(`${type}`, async () => {
      const found: bigint[] = []
      try {
        for (let at = type; at !== 0n && found.length < superTypesMax;) {
          const of = at
          found.push(of)
          at = (await this.#jdwp.call('ClassType.Superclass', (to) => to.id(of))).id()
        }
      } catch (error) {
        // An interface, or an array, comes from none.
        without(error, null)
      }
      return found
    })
  }

  async #members(command: 'ReferenceType.Methods' | 'ReferenceType.Fields', type: bigint): Promise<readonly Member[]> {
    return (await this.#jdwp.call(command, (to) => to.id(type))).list((row) => {
      const [id, name, signature] = [row.id(), row.text(), row.text()]
      return { id, name, signature, isStatic: (row.int() & staticFlag) !== 0 }
    })
  }
}

/** What the machine has not; whatever else went wrong is thrown on. */
function without<T>(error: unknown, nothing: T): T {
  if (error instanceof JdwpFault) return nothing
  throw error
}

/** Asks once for each key; what failed is asked again. */
function memory<T>(): (key: string, ask: () => Promise<T>) => Promise<T> {
  const known = new Map<string, Promise<T>>()
  return (key, ask) => {
    const asked = known.get(key) ?? ask()
    known.set(key, asked)
    asked.catch(() => known.delete(key))
    return asked
  }
}
