/** What the sandbox of an instance on a kernel of its own is asked for beside the rest. Pure. */
import type { InstanceAssignment } from '../protocol/index.ts'
import type { SandboxSpec } from '../sandbox/index.ts'

/** `servePort` is led into the guest; in a common sandbox the program is there already. */
export function apart(
  { isolation }: Pick<InstanceAssignment, 'isolation'>,
  servePort: number | null,
): Pick<SandboxSpec, 'isolation' | 'ports'> {
  return isolation === undefined ? {} : { isolation, ports: servePort === null ? [] : [servePort] }
}
