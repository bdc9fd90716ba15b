/** The sandbox driver `uml`: programs in guests of User-mode Linux, whose kernel is a program. */
import type { SandboxDriver } from '../driver.ts'
import { GuestDriver } from './guest-driver.ts'
import type { GuestDriverOptions } from './guest-driver.ts'
import { umlMonitor } from './guests/uml.ts'

/** Makes the driver after looking for its kernel. Throws `sandbox.unavailable` when it is missing. */
export function umlDriver(options: GuestDriverOptions): SandboxDriver {
  // It traces its processes, which the strict filter forbids.
  return new GuestDriver(umlMonitor(options.partsRoot ?? null, options.stateDir), 'default', options)
}
