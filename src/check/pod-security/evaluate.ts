/**
 * The Pod Security Standards: whether a pod meets a level at a version, decided as a Kubernetes API server decides it, in the
 * same words and the same order. Which revision of a check counts from which version on stands in one table.
 */
import type { Pod } from '../pod.ts'
import {
  appArmorProfile,
  capabilitiesBaseline,
  hasOwnUsers,
  hostNamespaces,
  hostPathVolumes,
  hostPorts,
  hostProbes,
  privileged,
  procMount,
  seLinuxOptions,
  seccompAnnotations,
  seccompFields,
  sysctls,
  windowsHostProcess,
} from './baseline.ts'
import type { Forbidden } from './baseline.ts'
import {
  allowPrivilegeEscalation,
  capabilitiesRestricted,
  isWindows,
  restrictedVolumes,
  runAsNonRoot,
  runAsUser,
  seccompRestricted,
} from './restricted.ts'
import { formatLevelVersion, newestMinor } from './versions.ts'
import type { LevelVersion, NamespacePolicy } from './versions.ts'

export interface StandardCheck {
  /** As Kubernetes calls it. */
  readonly id: string
  readonly level: 'baseline' | 'restricted'
  /** First minor version that has it. */
  readonly since: number
  /** The baseline check that it stands in for. */
  readonly overrides: string | null
  readonly decide: (pod: Pod, minor: number) => Forbidden | null
}

/** `decide`, but for pods that say they are for Windows: exempt from 1.25 on. */
function linuxOnly(decide: (pod: Pod) => Forbidden | null): StandardCheck['decide'] {
  return (pod, minor) => (minor >= 25 && isWindows(pod) ? null : decide(pod))
}

/** `decide`, but for pods with users of their own: exempt from 1.35 on. */
function hostUsersOnly(decide: (pod: Pod) => Forbidden | null): StandardCheck['decide'] {
  return (pod, minor) => (minor >= 35 && hasOwnUsers(pod) ? null : decide(pod))
}

function baseline(id: string, decide: StandardCheck['decide'], since = 0): StandardCheck {
  return { id, level: 'baseline', since, overrides: null, decide }
}

function restricted(
  id: string,
  since: number,
  decide: StandardCheck['decide'],
  overrides: string | null = null,
): StandardCheck {
  return { id, level: 'restricted', since, overrides, decide }
}

/** All checks, baseline first, each group by id: the order in which reasons are listed. */
export const standardChecks: readonly StandardCheck[] = [
  baseline('appArmorProfile', appArmorProfile),
  baseline('capabilities_baseline', capabilitiesBaseline),
  baseline('hostNamespaces', hostNamespaces),
  baseline('hostPathVolumes', hostPathVolumes),
  baseline('hostPorts', hostPorts),
  baseline('hostProbesAndHostLifecycle', hostProbes, 34),
  baseline('privileged', privileged),
  baseline('procMount', hostUsersOnly(procMount)),
  baseline('seLinuxOptions', (pod, minor) => seLinuxOptions(pod, minor >= 31)),
  baseline('seccompProfile_baseline', (pod, minor) => (minor >= 19 ? seccompFields(pod) : seccompAnnotations(pod))),
  baseline('sysctls', sysctls),
  baseline('windowsHostProcess', windowsHostProcess),
  restricted('allowPrivilegeEscalation', 8, linuxOnly(allowPrivilegeEscalation)),
  restricted('capabilities_restricted', 22, linuxOnly(capabilitiesRestricted), 'capabilities_baseline'),
  restricted('procMount_restricted', 35, procMount, 'procMount'),
  restricted('restrictedVolumes', 0, restrictedVolumes, 'hostPathVolumes'),
  restricted('runAsNonRoot', 0, hostUsersOnly(runAsNonRoot)),
  restricted('runAsUser', 23, hostUsersOnly(runAsUser)),
  restricted('seccompProfile_restricted', 19, linuxOnly(seccompRestricted), 'seccompProfile_baseline'),
]

export interface Violation extends Forbidden {
  readonly check: string
  readonly level: 'baseline' | 'restricted'
}

/** What keeps a pod from a level, in the order in which an API server names it. Empty when it meets the level. */
export function violations(pod: Pod, { level, version }: LevelVersion): readonly Violation[] {
  if (level === 'privileged') return []
  const minor = version === 'latest' ? newestMinor : Math.min(version, newestMinor)
  return checksOf(level, minor).flatMap((check) => {
    const forbidden = check.decide(pod, minor)
    return forbidden === null ? [] : [{ ...forbidden, check: check.id, level: check.level }]
  })
}

/** The checks that decide a level at a minor version, without those that a stricter one stands in for. */
export function checksOf(level: 'baseline' | 'restricted', minor: number): readonly StandardCheck[] {
  const known = standardChecks.filter((check) => check.since <= minor)
  if (level === 'baseline') return known.filter((check) => check.level === 'baseline')
  const overridden = new Set(known.map((check) => check.overrides))
  return known.filter((check) => !overridden.has(check.id))
}

/** `host namespaces (hostNetwork=true), privileged (...)`. */
export function describeViolations(found: readonly Forbidden[]): string {
  return found.map(({ reason, detail }) => (detail === '' ? reason : `${reason} (${detail})`)).join(', ')
}

/** What an API server answers to a pod. */
export interface Admission {
  readonly allowed: boolean
  /** Why it is rejected, or null. */
  readonly message: string | null
  readonly warnings: readonly string[]
  /** The audit annotations, without their common prefix. */
  readonly audit: Readonly<Record<string, string>>
}

/**
 * Decides a pod, or with `template` the template of a controller, which is never rejected: its pods are. Warnings are left
 * out where the pod is rejected anyway.
 */
export function admit(pod: Pod, policy: NamespacePolicy, template = false): Admission {
  const says = (verb: string, asked: LevelVersion): string | null => {
    const found = violations(pod, asked)
    if (found.length === 0) return null
    return `${verb} PodSecurity ${JSON.stringify(formatLevelVersion(asked))}: ${describeViolations(found)}`
  }
  const message = template ? null : says('violates', policy.enforce)
  const audit = says('would violate', policy.audit)
  const warning = message === null ? says('would violate', policy.warn) : null
  return {
    allowed: message === null,
    message,
    warnings: warning === null ? [] : [warning],
    audit: {
      ...(template ? {} : { 'enforce-policy': formatLevelVersion(policy.enforce) }),
      ...(audit === null ? {} : { 'audit-violations': audit }),
    },
  }
}
