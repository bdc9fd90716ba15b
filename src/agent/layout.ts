/**
 * Where things are for an instance: inside a sandbox of its own they have fixed places; with a driver that does not
 * isolate they are where they are on the host.
 */
import { join } from 'node:path'
import type { Bundle } from '../artifact/index.ts'
import type { InstanceAssignment } from '../protocol/index.ts'
import type { SandboxDriver, SandboxSpec, SyscallProfile } from '../sandbox/index.ts'

export interface Layout {
  readonly codeDir: string
  readonly secretsDir: string
  /** Null: the host's own hosts file is seen, so names of parts do not resolve. */
  readonly hostsPath: string | null
  /** Where the address of the name server goes. Null: the host's own file is seen, so names outside do not resolve in a network of its own. */
  readonly resolverPath: string | null
  readonly path: string
  readonly home: string
  readonly syscalls: SyscallProfile
}

/** The layout for a driver. */
export function layoutOf(sandbox: SandboxDriver, bundle: Pick<Bundle, 'path'>, recordDir: string): Layout {
  if (sandbox.capabilities.isolation !== 'refused') {
    const syscalls = sandbox.capabilities.syscallFilter === 'native' ? 'strict' : 'none'
    return {
      codeDir: '/app',
      secretsDir: '/run/secrets',
      hostsPath: '/etc/hosts',
      resolverPath: '/etc/resolv.conf',
      path: '/usr/bin:/bin',
      home: '/tmp',
      syscalls,
    }
  }
  const path = process.env['PATH'] ?? '/usr/bin:/bin'
  return {
    codeDir: bundle.path,
    secretsDir: join(recordDir, 'files'),
    hostsPath: null,
    resolverPath: null,
    path,
    home: '/tmp',
    syscalls: 'none',
  }
}

/** What the sandbox of an instance on a kernel of its own is asked for: `servePort` is led into the guest. */
export function apart(
  { isolation }: Pick<InstanceAssignment, 'isolation'>,
  servePort: number | null,
): Pick<SandboxSpec, 'isolation' | 'ports'> {
  return isolation === undefined ? {} : { isolation, ports: servePort === null ? [] : [servePort] }
}
