/**
 * Makes V8 throw the code of functions away and make it again: a breakpoint does that, so each gets one, which is gone at once.
 *
 * Invariant: no breakpoint is left, and none stops the program.
 */
import type { Cdp } from '../cdp/client.ts'
import type { Location } from '../cdp/protocol.ts'

/** The functions that hold these places. A place that is gone is no matter. */
export async function rebuild(cdp: Cdp, places: readonly Location[]): Promise<void> {
  for (const location of places) {
    const touched = await cdp.call('Debugger.setBreakpoint', { location, condition: 'false' }).catch(() => null)
    if (touched !== null) await cdp.call('Debugger.removeBreakpoint', { breakpointId: touched.breakpointId })
  }
}
