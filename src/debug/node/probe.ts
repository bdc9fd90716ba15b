/**
 * A probe in a running Node: values as a line is passed, without a stop.
 *
 * It is a breakpoint whose condition hands the values out and is never true. V8 compiles that anew at each pass, whether the
 * person's own condition holds or not: the process itself counts passes, hits and what they cost, and when a budget is spent,
 * or the line turns out to be a hot one, the probe does nothing any more and is removed. With the connection its breakpoints go.
 *
 * A breakpoint makes V8 throw away the code of its function and of those that it was inlined into. Where one of those has a loop, V8 may
 * go on with old code that was made in the middle of that loop, for seconds and at a seventh of the pace. So who called is
 * remembered, and rebuilt once the probe is out.
 */
import { type Random, randomId } from '../../base/index.ts'
import type { Cdp } from '../cdp/client.ts'
import type { Location } from '../cdp/protocol.ts'
import { Paths } from '../dap/paths.ts'
import type { SnapshotReport, SnapshotValue } from '../recipe.ts'
import { looksSecret, redactedText, secretName } from '../redact.ts'
import { badRequest, noStatement } from '../refusals.ts'
import { describeValue } from './describe.ts'
import { rebuild } from './rebuild.ts'
import type { RunningPlace, Scripts, WrittenPlace } from './scripts.ts'

export interface ProbeRequest {
  readonly file: string
  readonly line: number
  readonly expressions: readonly string[]
  readonly condition: string | null
  readonly hits: number
  readonly cpuMs: number
  readonly force: boolean
  readonly onHit: (values: readonly SnapshotValue[]) => void
  /** A budget is spent and the probe removed. */
  readonly onSpent: (spent: Spent) => void
}

/** How a probe ended by itself. */
export interface Spent extends Required<Pick<SnapshotReport, 'passes' | 'costMs'>> {
  readonly ended: 'hits' | 'cost' | 'too-often'
}

/** What V8 takes for one pass of a line with a condition, beside what the condition does: 65 to 240 microseconds were measured. */
const passMs = 0.2
/** A line is hot when it is passed more often than this in a second, over so many passes: a tenth of a core would go. */
const hot = { passesPerSecond: 500, passes: 50 }
/** Passes at which it is seen who called, how far up, and how many places in all are remembered. */
const callers = { passes: 8, frames: 12, places: 16 }

export interface Probe extends AsyncDisposable {
  readonly place: WrittenPlace
  /** What has become of it so far; null when the process does not say. */
  counted(): Promise<Pick<Spent, 'passes' | 'costMs'> | null>
}

/** A path of the person's own folder is that of the file with most names in common from the end, as for a breakpoint. */
async function placeOf(scripts: Scripts, file: string, line: number): Promise<RunningPlace> {
  try {
    return await scripts.running(file, line)
  } catch (error) {
    const own = scripts.files().filter((path) => !path.includes('/node_modules/'))
    const near = new Paths({ sameFiles: false }).inside(file, own)
    if (near === file) throw error
    return await scripts.running(near, line)
  }
}

/** Throws `debug.unknown-place`, `debug.bad-request`. */
export async function openProbe(cdp: Cdp, scripts: Scripts, random: Random, request: ProbeRequest): Promise<Probe> {
  const { file, line, expressions, condition, onHit, onSpent } = request
  for (const expression of [...expressions, ...(condition === null ? [] : [condition])])
    await checkSyntax(cdp, expression)
  const { url, lineNumber, columnNumber } = await placeOf(scripts, file, line)
  const name = `__stead_${randomId(random)}`
  // On a hot line the process may say that all is spent before it says that the breakpoint is there.
  let placing: Promise<string | null> = Promise.resolve(null)
  const listening = cdp.on('Runtime.bindingCalled', ({ name: called, payload }) => {
    if (called !== name) return
    const said = readSaid(payload, expressions)
    if (said?.kind === 'hit') onHit(said.values)
    if (said?.kind !== 'spent') return
    const tell = (): void => onSpent(said.spent)
    void once().then(tell, tell)
  })
  const remove = async (): Promise<void> => {
    listening[Symbol.dispose]()
    const breakpointId = await placing.catch(() => null)
    if (breakpointId !== null) {
      await cdp.call('Debugger.removeBreakpoint', { breakpointId })
      const { result } = await cdp.call('Runtime.evaluate', {
        expression: `globalThis.${name}_hit?.callers()`,
        returnByValue: true,
        silent: true,
      })
      await rebuild(cdp, placesOf(result.value))
    }
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
    await cdp.call('Runtime.evaluate', { expression: counter(name, request), silent: true })
    const values = expressions.map(
      (expression) => `() => (${looksSecret(expression) ? `'${redactedText}'` : expression})`,
    )
    const when = condition === null ? 'null' : `() => (${condition}\n)`
    const setting = cdp.call('Debugger.setBreakpointByUrl', {
      url,
      lineNumber,
      columnNumber,
      condition: `(globalThis.${name}_hit?.(${when}, [${values.join(', ')}]), false)`,
    })
    placing = setting.then(({ breakpointId }) => breakpointId)
    const { locations } = await setting
    const [location] = locations
    if (location === undefined) throw noStatement(file, line)
    const place = await scripts.written(location.scriptId, location.lineNumber, location.columnNumber ?? 0)
    return {
      place,
      async counted() {
        const expression = `globalThis.${name}_hit?.counted()`
        const { result } = await cdp.call('Runtime.evaluate', { expression, returnByValue: true, silent: true })
        return countsOf(result.value)
      },
      [Symbol.asyncDispose]: () => once().catch(() => undefined),
    }
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

/**
 * What counts in the process. It says `{ values }` for each hit and `{ spent }` at last, once. Its clock is one that test
 * libraries leave alone.
 */
function counter(name: string, { hits, cpuMs, force }: Pick<ProbeRequest, 'hits' | 'cpuMs' | 'force'>): string {
  return `(() => {
    let left = ${hits}, passes = 0, costMs = 0
    const nowMs = () => Number(process.hrtime.bigint()) / 1e6
    const firstMs = nowMs()
    const describe = ${describeValue.toString()}
    const options = { secret: ${secretName}, redacted: '${redactedText}', isProxy: process.getBuiltinModule('node:util').types.isProxy }
    const hand = globalThis.${name}
    const end = (ended) => { left = 0; hand(JSON.stringify({ spent: { ended, passes, costMs } })) }
    let sinceMs = firstMs, since = 0
    const { getCallSites } = process.getBuiltinModule('node:util')
    const callers = new Map()
    const seeCallers = getCallSites && (() => {
      for (const { scriptName, scriptId, lineNumber, columnNumber } of getCallSites(${callers.frames}, { sourceMap: false })) {
        const isOwn = scriptName !== '' && !scriptName.startsWith('node:')
        if (callers.size >= ${callers.places} || scriptId === undefined || !isOwn) continue
        callers.set([scriptId, lineNumber, columnNumber].join(), { scriptId, lineNumber: lineNumber - 1, columnNumber: columnNumber - 1 })
      }
    })
    const pass = (when, values) => {
      if (left === 0) return
      const fromMs = nowMs()
      if (passes < ${callers.passes}) seeCallers?.()
      if (passes++ === 0 || since >= ${hot.passes}) { sinceMs = fromMs; since = 0 }
      since++
      let holds = true
      try { holds = when === null || when() } catch { holds = false }
      if (holds) {
        left--
        const shown = values.map((read) => {
          try { return { value: describe(read(), options) } } catch (error) { return { error: String(error && error.message || error).slice(0, 200) } }
        })
        hand(JSON.stringify({ values: shown }))
      }
      costMs += ${passMs} + nowMs() - fromMs
      if (holds && left === 0) return end('hits')
      if (costMs > ${cpuMs}) return end('cost')
      if (!${force} && since === ${hot.passes} && fromMs - sinceMs < ${(1000 * (hot.passes - 1)) / hot.passesPerSecond}) end('too-often')
    }
    pass.counted = () => ({ passes, costMs })
    pass.callers = () => [...callers.values()]
    Object.defineProperty(globalThis, '${name}_hit', { configurable: true, enumerable: false, value: pass })
  })()`
}

type Said =
  | { readonly kind: 'hit'; readonly values: readonly SnapshotValue[] }
  | { readonly kind: 'spent'; readonly spent: Spent }

/** What the process has said; null for what is none of it: the program could call the binding too. */
function readSaid(payload: string, expressions: readonly string[]): Said | null {
  try {
    const { values, spent }: { values?: unknown; spent?: { ended?: unknown } } = JSON.parse(payload)
    if (Array.isArray(values)) return { kind: 'hit', values: expressions.map((text, at) => valueOf(text, values[at])) }
    const counts = countsOf(spent)
    const ended = (['hits', 'cost', 'too-often'] as const).find((word) => word === spent?.ended)
    return counts === null || ended === undefined ? null : { kind: 'spent', spent: { ended, ...counts } }
  } catch {
    return null
  }
}

function placesOf(said: unknown): readonly Location[] {
  const places: readonly unknown[] = Array.isArray(said) ? said : []
  return places.slice(0, callers.places).flatMap((place) => {
    const { scriptId, lineNumber, columnNumber }: { scriptId?: unknown; lineNumber?: unknown; columnNumber?: unknown } =
      typeof place === 'object' && place !== null ? place : {}
    const known = typeof scriptId === 'string' && typeof lineNumber === 'number' && typeof columnNumber === 'number'
    return known ? [{ scriptId, lineNumber, columnNumber }] : []
  })
}

function valueOf(expression: string, shown: unknown): SnapshotValue {
  const found: { value?: unknown; error?: unknown } = typeof shown === 'object' && shown !== null ? shown : {}
  return typeof found.error === 'string' ? { expression, error: found.error } : { expression, value: found.value }
}

function countsOf(said: unknown): Pick<Spent, 'passes' | 'costMs'> | null {
  const { passes, costMs }: { passes?: unknown; costMs?: unknown } =
    typeof said === 'object' && said !== null ? said : {}
  return typeof passes === 'number' && typeof costMs === 'number' ? { passes, costMs: Math.round(costMs) } : null
}
