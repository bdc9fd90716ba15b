/**
 * Values of a stopped program as an editor shows them, and the numbers by which it asks for what is inside them.
 *
 * Invariant: numbers live as long as one stop; values of names that look like secrets are not shown.
 */
import type { Cdp } from '../cdp/client.ts'
import type { PropertyDescriptor, RemoteObject, Scope } from '../cdp/protocol.ts'
import { redactedText, secretName } from '../redact.ts'

export interface Variable {
  readonly name: string
  readonly value: string
  readonly type: string
  /** 0 for what has no inside. */
  readonly variablesReference: number
}

/** Most properties of one value that are shown. */
const shownMax = 1000
const charactersMax = 10_000
/** Most values with an inside in one stop. */
const referencesMax = 100_000

export class Values {
  readonly #cdp: Cdp
  #objects: string[] = []

  constructor(cdp: Cdp) {
    this.#cdp = cdp
  }

  /** The stop is over: what was shown cannot be opened any more. */
  forget(): void {
    this.#objects = []
  }

  scope({ type, name, object }: Scope): Variable {
    const shown = name === undefined || name === '' ? type : `${type} ${name}`
    return { name: shown, value: '', type: '', variablesReference: this.#reference(object.objectId) }
  }

  show(name: string, object: RemoteObject): Variable {
    if (secretName.test(name)) return { name, value: redactedText, type: object.type, variablesReference: 0 }
    const inside = object.type === 'object' || object.type === 'function' ? this.#reference(object.objectId) : 0
    return { name, value: textOf(object), type: object.subtype ?? object.type, variablesReference: inside }
  }

  async inside(reference: number): Promise<readonly Variable[]> {
    const objectId = this.#objects[reference - 1]
    if (objectId === undefined) return []
    const { result, internalProperties = [] } = await this.#cdp.call('Runtime.getProperties', {
      objectId,
      ownProperties: true,
    })
    const own = result.slice(0, shownMax).map((property) => this.#property(property))
    const internal = internalProperties
      .filter(({ name }) => name === '[[Entries]]' || name.startsWith('[[Promise'))
      .map((property) => this.#property(property))
    const more = result.length - own.length
    const rest = { name: '…', value: `${more} more`, type: '', variablesReference: 0 }
    return [...own, ...internal, ...(more > 0 ? [rest] : [])]
  }

  #property({ name, value, get }: PropertyDescriptor): Variable {
    if (value !== undefined) return this.show(name, value)
    // A getter is code of the program: it is called by whoever evaluates it, not by a look.
    return { name, value: get === undefined ? 'undefined' : '(getter)', type: '', variablesReference: 0 }
  }

  #reference(objectId: string | undefined): number {
    if (objectId === undefined || this.#objects.length >= referencesMax) return 0
    return this.#objects.push(objectId)
  }
}

/** As one would write it. */
export function textOf({ type, subtype, value, unserializableValue, description }: RemoteObject): string {
  const cut = (text: string): string => (text.length > charactersMax ? `${text.slice(0, charactersMax)}…` : text)
  if (type === 'string') return cut(JSON.stringify(value))
  if (type === 'undefined' || subtype === 'null') return type === 'undefined' ? 'undefined' : 'null'
  if (unserializableValue !== undefined) return unserializableValue
  if (type === 'function') return cut((description ?? 'function').split('\n')[0] ?? '')
  return cut(description ?? String(value))
}
