/**
 * A probe in a running Node: values as a line is passed, without a stop.
 *
 * It is a breakpoint whose condition hands the values out and is never true. The process itself counts: when the budget
 * is spent the probe does nothing any more, and is removed. With the connection its breakpoints go.
 */
import { type Random, randomId } from '../../base/index.ts'
import type { Cdp } from '../cdp/client.ts'
import type { SnapshotValue } from '../recipe.ts'
import { looksSecret, redactedText, secretName } from '../redact.ts'
import { badRequest, noStatement } from '../refusals.ts'
import { describeValue } from './describe.ts'
import type { Scripts, WrittenPlace } from './scripts.ts'

export interface ProbeRequest {
  readonly file: string
  readonly line: number
  readonly expressions: readonly string[]
  readonly condition: string | null
  readonly hits: number
  readonly onHit: (values: readonly SnapshotValue[]) => void
  /** The budget is spent and the probe removed. */
  readonly onSpent: () => void
}

export interface Probe extends AsyncDisposable {
  readonly place: WrittenPlace
}

/** Throws `debug.unknown-place`, `debug.bad-request`. */
export async function openProbe(cdp: Cdp, scripts: Scripts, random: Random, request: ProbeRequest): Promise<Probe> {
  const { file, line, expressions, condition, hits, onHit, onSpent } = request
  for (const expression of [...expressions, ...(condition === null ? [] : [condition])])
    await checkSyntax(cdp, expression)
  const { url, lineNumber, columnNumber } = await scripts.running(file, line)
  const name = `__stead_${randomId(random)}`
  let left = hits
  let breakpointId: string | null = null
  const listening = cdp.on('Runtime.bindingCalled', ({ name: called, payload }) => {
    if (called !== name || left === 0) return
    const hit = readHit(payload, expressions)
    if (hit === null) return
    left--
    onHit(hit)
    if (left === 0) void once().then(onSpent, onSpent)
  })
  const remove = async (): Promise<void> => {
    listening[Symbol.dispose]()
    if (breakpointId !== null) await cdp.call('Debugger.removeBreakpoint', { breakpointId })
    await cdp.call('Runtime.removeBinding', { name })
    await cdp.call('Runtime.evaluate', {
      expression: `delete globalThis.${name}; delete globalThis.${name}_hit`,
      silent: true,
    })
  }
  let removed: Promise<void> | null = null
  const once = (): Promise<void> => (removed ??= remove())
  try {
    await cdp.call('Runtime.addBinding', { name })
    await cdp.call('Runtime.evaluate', { expression: counter(name, hits), silent: true })
    const values = expressions.map(
      (expression) => `() => (${looksSecret(expression) ? `'${redactedText}'` : expression})`,
    )
    const when = condition === null ? '' : `(${condition}) && `
    const { breakpointId: id, locations } = await cdp.call('Debugger.setBreakpointByUrl', {
      url,
      lineNumber,
      columnNumber,
      condition: `${when}(globalThis.${name}_hit?.([${values.join(', ')}]), false)`,
    })
    breakpointId = id
    const [location] = locations
    if (location === undefined) throw noStatement(file, line)
    const place = await scripts.written(location.scriptId, location.lineNumber, location.columnNumber ?? 0)
    return { place, [Symbol.asyncDispose]: () => once().catch(() => undefined) }
  } catch (error) {
    await once().catch(() => undefined)
    throw error
  }
}

/** A condition that does not parse would just never be true. */
async function checkSyntax(cdp: Cdp, expression: string): Promise<void> {
  const wrapped = `(async function* () { return (${expression}\n) })`
  const { exceptionDetails } = await cdp.call('Runtime.compileScript', {
    expression: wrapped,
    sourceURL: '',
    persistScript: false,
  })
  if (exceptionDetails === undefined) return
  const said = exceptionDetails.exception?.description?.split('\n')[0] ?? exceptionDetails.text
  throw badRequest(`'${expression}' is no expression: ${said}`, 'Write it as it would stand on that line.')
}

function counter(name: string, hits: number): string {
  return `(() => {
    let left = ${hits}
    const describe = ${describeValue.toString()}
    const options = { secret: ${secretName}, redacted: '${redactedText}', isProxy: process.getBuiltinModule('node:util').types.isProxy }
    const hand = globalThis.${name}
    Object.defineProperty(globalThis, '${name}_hit', { configurable: true, enumerable: false, value(values) {
      if (left === 0) return
      left--
      const shown = values.map((read) => {
        try { return { value: describe(read(), options) } } catch (error) { return { error: String(error && error.message || error).slice(0, 200) } }
      })
      hand(JSON.stringify(shown))
    } })
  })()`
}

function readHit(payload: string, expressions: readonly string[]): readonly SnapshotValue[] | null {
  try {
    const shown: unknown = JSON.parse(payload)
    if (!Array.isArray(shown)) return null
    return expressions.map((expression, index) => {
      const found: { value?: unknown; error?: unknown } = shown[index] ?? {}
      return typeof found.error === 'string' ? { expression, error: found.error } : { expression, value: found.value }
    })
  } catch {
    return null
  }
}
