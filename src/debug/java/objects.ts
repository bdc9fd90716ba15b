/**
 * Values of a Java machine whose threads stand still: what objects hold, and how a person reads it.
 *
 * Invariants: what is read of a program is limited. Values under names that look like secrets are not shown.
 */
import type { Jdwp } from '../jdwp/client.ts'
import type { Place } from '../jdwp/protocol.ts'
import { redactedText, secretName } from '../redact.ts'
import { badRequest } from '../refusals.ts'
import type { Member, Types } from './types.ts'
import {
  arrayTag,
  type JavaValue,
  shortName,
  shownPlain,
  stringTag,
  taggedIdIn,
  tagOfSignature,
  typeOfSignature,
  valueIn,
  valuesIn,
} from './value.ts'

/** A variable, a field or an element, as it is shown. */
export interface Named {
  readonly name: string
  readonly value: JavaValue
  readonly type: string
}

const textCharsMax = 1000
const fieldsMax = 200
const elementsShownMax = 5
const fieldsShownMax = 8
/** A method of the program that waits for something does so that long. */
const callMs = 60_000
const boxes = new Set(['Boolean', 'Byte', 'Character', 'Double', 'Float', 'Integer', 'Long', 'Short'])

export class Objects {
  readonly #jdwp: Jdwp
  readonly #types: Types

  constructor(jdwp: Jdwp, types: Types) {
    this.#jdwp = jdwp
    this.#types = types
  }

  /** The variables of a frame that have a value where it stands. Throws `JdwpFault` where it was built without their names. */
  async locals(thread: bigint, frame: bigint, { type, method, index }: Place): Promise<readonly Named[]> {
    const all = await this.#types.variables(type, method)
    const known = all.filter(({ from, to }) => from <= index && index < to)
    const reader = await this.#jdwp.call('StackFrame.GetValues', (to) => {
      to.id(thread).id(frame).int(known.length)
      for (const { slot, signature } of known) to.int(slot).byte(tagOfSignature(signature))
    })
    return withValues(known, reader.list(valueIn))
  }

  /** Null in a static method. */
  async thisOf(thread: bigint, frame: bigint): Promise<JavaValue | null> {
    const { tag, id } = taggedIdIn(await this.#jdwp.call('StackFrame.ThisObject', (to) => to.id(thread).id(frame)))
    return id === 0n ? null : { kind: 'reference', tag, id }
  }

  /** Fields of an object with those that it has inherited, its own first. */
  async fields(id: bigint): Promise<readonly Named[]> {
    const all: Member[] = []
    for (const type of await this.#types.upwards(await this.#typeOf(id))) {
      all.push(...(await this.#types.fields(type)).filter(({ isStatic }) => !isStatic))
    }
    const asked = all.slice(0, fieldsMax)
    const reader = await this.#jdwp.call('ObjectReference.GetValues', (to) => {
      to.id(id).int(asked.length)
      for (const field of asked) to.id(field.id)
    })
    return withValues(asked, reader.list(valueIn))
  }

  /** Null where neither the class nor those that it comes from have such a field of their own. */
  async staticField(type: bigint, name: string): Promise<JavaValue | null> {
    for (const owner of await this.#types.upwards(type)) {
      const field = (await this.#types.fields(owner)).find((one) => one.isStatic && one.name === name)
      if (field === undefined) continue
      const reader = await this.#jdwp.call('ReferenceType.GetValues', (to) => to.id(owner).int(1).id(field.id))
      return reader.list(valueIn)[0] ?? null
    }
    return null
  }

  async lengthOf(id: bigint): Promise<number> {
    return (await this.#jdwp.call('ArrayReference.Length', (to) => to.id(id))).int()
  }

  /** Part of an array that is there. */
  async elements(id: bigint, from: number, count: number): Promise<readonly JavaValue[]> {
    return valuesIn(await this.#jdwp.call('ArrayReference.GetValues', (to) => to.id(id).int(from).int(count)))
  }

  /** The text of a string; null for what is none. */
  async text(value: JavaValue): Promise<string | null> {
    if (value.kind === 'text') return value.value
    if (value.kind !== 'reference' || value.tag !== stringTag || value.id === 0n) return null
    return (await this.#jdwp.call('StringReference.Value', (to) => to.id(value.id))).text()
  }

  /** Runs a method without arguments, on a thread that an event has stopped. Throws `debug.bad-request`, `JdwpFault`. */
  async call(thread: bigint, id: bigint, name: string): Promise<JavaValue> {
    const type = await this.#typeOf(id)
    for (const owner of await this.#types.upwards(type)) {
      const found = (await this.#types.methods(owner)).find(
        (method) => method.name === name && method.signature.startsWith('()') && !method.isStatic,
      )
      if (found === undefined) continue
      const reader = await this.#jdwp.call(
        'ObjectReference.InvokeMethod',
        (to) => to.id(id).id(thread).id(owner).id(found.id).int(0).int(onlyThatThread),
        callMs,
      )
      const value = valueIn(reader)
      const thrown = taggedIdIn(reader)
      if (thrown.id === 0n) return value
      throw badRequest(`${name}() threw ${await this.#types.name(await this.#typeOf(thrown.id))}`, 'Ask for a field.')
    }
    const called = `${await this.#types.name(type)} has no method ${name}()`
    throw badRequest(called, 'Only methods without arguments are called.')
  }

  /** The type of a value, as a program writes it. */
  async type(value: JavaValue): Promise<string> {
    if (value.kind === 'reference') {
      return value.id === 0n ? 'null' : await this.#types.name(await this.#typeOf(value.id))
    }
    if (value.kind === 'whole' || value.kind === 'real') return value.type
    return value.kind === 'text' ? 'java.lang.String' : value.kind
  }

  /** As a person reads it. `depth`: how far objects in it are shown by what they hold. */
  async shown(value: JavaValue, depth = 1): Promise<string> {
    if (value.kind !== 'reference') return shownPlain(value)
    if (value.id === 0n) return 'null'
    const text = await this.text(value)
    if (text !== null) return JSON.stringify(text.length > textCharsMax ? `${text.slice(0, textCharsMax)}…` : text)
    const type = shortName(await this.type(value))
    if (value.tag === arrayTag) return await this.#shownArray(value.id, type, depth)
    const fields = depth === 0 && !boxes.has(type) ? [] : await this.fields(value.id)
    const [only] = fields
    if (boxes.has(type) && only?.name === 'value') return await this.shown(only.value, 0)
    if (depth === 0) return `${type}@${value.id}`
    const parts: string[] = []
    for (const { name, value: inside } of fields.slice(0, fieldsShownMax)) {
      parts.push(`${name}=${await this.shownUnder(name, inside, depth - 1)}`)
    }
    return `${type} {${parts.join(', ')}${fields.length > fieldsShownMax ? ', …' : ''}}`
  }

  /** As `shown`, unless the name looks like that of a secret. */
  async shownUnder(name: string, value: JavaValue, depth = 1): Promise<string> {
    return secretName.test(name) ? redactedText : await this.shown(value, depth)
  }

  async #shownArray(id: bigint, type: string, depth: number): Promise<string> {
    const length = await this.lengthOf(id)
    const head = type.replace('[]', `[${length}]`)
    if (depth === 0 || length === 0) return head
    const parts: string[] = []
    for (const item of await this.elements(id, 0, Math.min(length, elementsShownMax))) {
      parts.push(await this.shown(item, depth - 1))
    }
    return `${head} {${parts.join(', ')}${length > elementsShownMax ? ', …' : ''}}`
  }

  /** Not remembered: an id may be given to another object when this one has been collected. */
  async #typeOf(id: bigint): Promise<bigint> {
    return taggedIdIn(await this.#jdwp.call('ObjectReference.ReferenceType', (to) => to.id(id))).id
  }
}

/** The other threads stand still while a method runs. */
const onlyThatThread = 1

function withValues(
  members: readonly { readonly name: string; readonly signature: string }[],
  values: readonly JavaValue[],
): readonly Named[] {
  return members.flatMap(({ name, signature }, index) => {
    const value = values[index]
    return value === undefined ? [] : [{ name, value, type: typeOfSignature(signature) }]
  })
}
