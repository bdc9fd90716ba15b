/** Keeps a component from being drawn again while its properties are the same, one by one. */
import { type Component, type FunctionComponent, h } from 'preact'

export function memo<P extends object>(component: FunctionComponent<P>): FunctionComponent<P> {
  function Memo(this: Component<P>, properties: P) {
    this.shouldComponentUpdate = (next) => !same(this.props, next)
    return h(component, properties)
  }
  return Memo
}

function same(a: object, b: object): boolean {
  const before: Readonly<Record<string, unknown>> = { ...a }
  const after: Readonly<Record<string, unknown>> = { ...b }
  const keys = Object.keys(before)
  return keys.length === Object.keys(after).length && keys.every((key) => Object.is(before[key], after[key]))
}
