/** The sandbox driver `vm`: programs in guests of QEMU, on a kernel of their own. */
import type { SandboxDriver } from '../driver.ts'
import { GuestDriver } from './guest-driver.ts'
import type { GuestDriverOptions } from './guest-driver.ts'
import { qemuMonitor } from './guests/qemu.ts'

/** Makes the driver after looking for its parts. Throws `sandbox.unavailable`, with the one that is missing. */
export function vmDriver(options: GuestDriverOptions): SandboxDriver {
  return new GuestDriver(qemuMonitor(options.partsRoot ?? null, options.stateDir), 'strict', options)
}
