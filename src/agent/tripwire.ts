/**
 * The wires around one running instance: a decoy that nobody has a reason to touch, and addresses that it was not given.
 * System calls come from the kernel's log (kernel-log.ts) and from how the program ended.
 *
 * Invariant: each wire trips once for a run of the program.
 */
import { type BigIntStats, statSync } from 'node:fs'
import type { Clock } from '../base/index.ts'
import type { Wire } from '../protocol/index.ts'

const lookMs = 250
/** So many different addresses and names that were refused within this time are a search, not a mistake. */
export const refusedMax: number = 20
const refusedMs = 60_000

/** A decoy looks like what an intruder looks for. `random` makes it different everywhere, so that its use can be traced to here. */
export function decoyContent(random: string): string {
  return `[default]\naws_access_key_id = AKIA${random.toUpperCase()}\naws_secret_access_key = ${random}${random}${random}\n`
}

/** Where it lies inside. Not among the secrets: there are programs that read all of those, whatever their names. */
export const decoyPath = '/run/credentials/root'

export interface TripwireOptions {
  readonly clock: Clock
  /** The decoy as the host sees it; null when there is none. */
  readonly decoy: string | null
  /** How many different things it was refused outside, ever. */
  readonly different: () => number
  readonly onTrip: (wire: Wire, what: string) => void
}

/** Watches until disposed. */
export function setTripwire({ clock, decoy, different, onTrip }: TripwireOptions): Disposable {
  const tripped = new Set<Wire>()
  const first = decoy === null ? null : look(decoy)
  let window = { sinceMs: clock.monotonicMs(), from: different() }
  const trip = (wire: Wire, what: string): void => {
    if (tripped.has(wire)) return
    tripped.add(wire)
    onTrip(wire, what)
  }
  const check = (): void => {
    const now = first === null || decoy === null ? null : look(decoy)
    if (now !== null && first !== null) {
      if (now.mtimeNs !== first.mtimeNs || now.size !== first.size) trip('decoy', `it wrote to the decoy ${decoyPath}`)
      else if (now.atimeNs !== first.atimeNs) trip('decoy', `it read the decoy ${decoyPath}`)
    }
    const nowMs = clock.monotonicMs()
    const refused = different()
    if (refused - window.from >= refusedMax)
      trip('addresses', `it tried ${refused - window.from} different addresses and names that it was not given`)
    if (nowMs - window.sinceMs > refusedMs) window = { sinceMs: nowMs, from: refused }
  }
  let timer = clock.after(lookMs, again)
  function again(): void {
    check()
    timer = clock.after(lookMs, again)
  }
  return { [Symbol.dispose]: () => timer[Symbol.dispose]() }
}

function look(path: string): BigIntStats | null {
  try {
    return statSync(path, { bigint: true })
  } catch {
    return null
  }
}
