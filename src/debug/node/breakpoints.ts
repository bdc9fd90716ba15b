/**
 * The breakpoints of one client: set by path and line, also for files that are not loaded yet; logpoints as probes.
 *
 * Invariant: `clear` leaves none in the process.
 */
import { isSteadError, messageOf, type Random } from '../../base/index.ts'
import type { Cdp } from '../cdp/client.ts'
import { type Arguments, numberIn, textIn } from '../dap/peer.ts'
import { openProbe, type Probe } from './probe.ts'
import { snapshotCpuMs } from '../recipe.ts'
import type { Scripts } from './scripts.ts'

export interface ShownBreakpoint {
  readonly id: number
  readonly verified: boolean
  readonly line: number
  readonly message?: string
}

interface Wanted {
  readonly id: number
  readonly path: string
  readonly line: number
  readonly condition: string
  readonly log: string
  breakpointId: string | null
  probe: Probe | null
  /** Taken away while it was being set. */
  dropped: boolean
}

/** Hits of a logpoint, after which it is spent; one on a hot line is sooner. */
export const logpointHitsMax = 1000
/** Of one client. */
const breakpointsMax = 1000

export interface BreakpointsOptions {
  readonly cdp: Cdp
  readonly scripts: Scripts
  readonly random: Random
  /** From a path of the client to one of the process. */
  readonly inside: (path: string) => string
  readonly onLog: (text: string, path: string, line: number) => void
  readonly onChange: (breakpoint: ShownBreakpoint) => void
}

export class Breakpoints {
  readonly #options: BreakpointsOptions
  #wanted: Wanted[] = []
  #lastId = 0

  constructor(options: BreakpointsOptions) {
    this.#options = options
  }

  /** Replaces all breakpoints of a file. */
  async set(path: string, asked: readonly Arguments[]): Promise<readonly ShownBreakpoint[]> {
    const old = this.#wanted.filter((wanted) => wanted.path === path)
    this.#wanted = this.#wanted.filter((wanted) => wanted.path !== path)
    for (const wanted of old) await this.#remove(wanted)
    const shown: ShownBreakpoint[] = []
    for (const args of asked.slice(0, breakpointsMax - this.#wanted.length)) {
      const wanted: Wanted = {
        id: ++this.#lastId,
        path,
        line: numberIn(args, 'line'),
        condition: textIn(args, 'condition'),
        log: textIn(args, 'logMessage'),
        breakpointId: null,
        probe: null,
        dropped: false,
      }
      this.#wanted.push(wanted)
      shown.push(await this.#place(wanted))
    }
    return shown
  }

  /** A script was loaded: what waited for it is set. */
  async loaded(url: string): Promise<void> {
    const name = url.slice(url.lastIndexOf('/') + 1)
    for (const wanted of this.#wanted) {
      if (wanted.breakpointId !== null || wanted.probe !== null) continue
      // A compiled file has another ending than the one it was written as.
      if (stemOf(name) !== stemOf(wanted.path.slice(wanted.path.lastIndexOf('/') + 1))) continue
      const shown = await this.#place(wanted)
      if (shown.verified) this.#options.onChange(shown)
    }
  }

  /** Which of them these are, by the protocol's own ids. */
  idsOf(breakpointIds: readonly string[]): readonly number[] {
    return this.#wanted
      .filter(({ breakpointId }) => breakpointId !== null && breakpointIds.includes(breakpointId))
      .map(({ id }) => id)
  }

  /** Whether the program may stop at one. */
  get canStop(): boolean {
    return this.#wanted.some(({ log }) => log === '')
  }

  async clear(): Promise<void> {
    for (const wanted of this.#wanted.splice(0)) await this.#remove(wanted)
  }

  async #place(wanted: Wanted): Promise<ShownBreakpoint> {
    const { id, line } = wanted
    try {
      return { id, verified: true, line: wanted.log === '' ? await this.#stop(wanted) : await this.#log(wanted) }
    } catch (error) {
      if (!isSteadError(error)) throw error
      return { id, verified: false, line, message: messageOf(error) }
    }
  }

  async #stop(wanted: Wanted): Promise<number> {
    const { cdp, scripts, inside } = this.#options
    const { url, lineNumber, columnNumber } = await scripts.running(inside(wanted.path), wanted.line)
    const place = { url, lineNumber, columnNumber }
    const { breakpointId, locations } = await cdp.call(
      'Debugger.setBreakpointByUrl',
      wanted.condition === '' ? place : { ...place, condition: wanted.condition },
    )
    wanted.breakpointId = breakpointId
    if (wanted.dropped) await this.#remove(wanted)
    const [location] = locations
    if (location === undefined) return wanted.line
    return (await scripts.written(location.scriptId, location.lineNumber, location.columnNumber ?? 0)).line
  }

  async #log(wanted: Wanted): Promise<number> {
    const { cdp, scripts, random, inside, onLog } = this.#options
    const { texts, expressions } = partsOf(wanted.log)
    const { path, line } = wanted
    wanted.probe = await openProbe(cdp, scripts, random, {
      file: inside(path),
      line,
      expressions,
      condition: wanted.condition === '' ? null : wanted.condition,
      hits: logpointHitsMax,
      cpuMs: snapshotCpuMs,
      force: false,
      onHit: (values) => {
        const shown = values.map(
          ({ value, error }) => error ?? (typeof value === 'string' ? value : JSON.stringify(value)),
        )
        onLog(texts.map((text, index) => `${text}${shown[index] ?? ''}`).join(''), path, line)
      },
      onSpent: ({ ended, passes, costMs }) => {
        const why =
          ended === 'too-often'
            ? 'its line is passed so often that the program would feel it'
            : `it has taken ${costMs} ms of the program's time over ${passes} passes`
        onLog(`this logpoint is spent: ${why}; set it again for more`, path, line)
      },
    })
    if (wanted.dropped) await this.#remove(wanted)
    return wanted.probe.place.line
  }

  async #remove(wanted: Wanted): Promise<void> {
    wanted.dropped = true
    const { breakpointId, probe } = wanted
    wanted.breakpointId = null
    wanted.probe = null
    await probe?.[Symbol.asyncDispose]()
    if (breakpointId !== null) await this.#options.cdp.call('Debugger.removeBreakpoint', { breakpointId })
  }
}

/** `order {id} of {user.name}`: the texts around the expressions, one more than of those. */
function partsOf(message: string): { readonly texts: readonly string[]; readonly expressions: readonly string[] } {
  const pieces = message.split(/\{([^{}]+)\}/)
  return {
    texts: pieces.filter((_, index) => index % 2 === 0),
    expressions: pieces.filter((_, index) => index % 2 === 1),
  }
}

function stemOf(name: string): string {
  return name.replace(/\.[cm]?[jt]sx?$/, '')
}
