/**
 * How a pod is made to meet a check without knowing its image, and why not where that is needed. What is written is only
 * what the standards ask for: fields that take rights away which no program relies on unless it says so.
 */
import { badSeccomp } from '../pod-security/baseline.ts'
import type { Workload } from '../inventory.ts'
import type { Container } from '../pod.ts'
import type { Path } from '../tree.ts'
import { set } from './rule.ts'
import type { Edit } from './rule.ts'

export interface Mending {
  readonly edits: readonly Edit[]
  readonly left: string | null
  /** The field to point at, from the subject's root. */
  readonly path: Path
}

const field = (container: Container, ...path: Path): Path => [...container.path, 'securityContext', ...path]

export function mendPod(workload: Workload, check: string): Mending {
  const { pod, podPath } = workload
  const first = pod.containers[0]?.path ?? podPath
  const keep = (left: string, path: Path = first): Mending => ({ edits: [], left, path })
  switch (check) {
    case 'allowPrivilegeEscalation':
      return mendEscalation(workload)
    case 'capabilities_restricted':
      return mendCapabilities(workload)
    case 'seccompProfile_restricted':
      return mendSeccomp(workload)
    case 'seccompProfile_baseline':
      return mendSeccomp(workload)
    case 'runAsNonRoot':
      return mendNonRoot(workload)
    case 'procMount':
    case 'procMount_restricted': {
      const bad = pod.containers.filter(
        ({ security }) => security.procMount !== undefined && security.procMount !== 'Default',
      )
      return {
        edits: bad.map((container) => set(workload, field(container, 'procMount'), 'Default')),
        left: null,
        path: field(bad[0] ?? emptyFor(workload), 'procMount'),
      }
    }
    case 'appArmorProfile':
      return keep('The profile was chosen, or switched off, by somebody: ask them why.', [
        ...podPath,
        'securityContext',
      ])
    case 'capabilities_baseline':
      return keep('Whether the program works without these capabilities is known only to who runs it.')
    case 'hostNamespaces':
      return keep('A program that was made for the namespaces of the node cannot be moved out of them by a field.', [
        ...podPath,
        pod.hostNetwork ? 'hostNetwork' : pod.hostPid ? 'hostPID' : 'hostIPC',
      ])
    case 'hostPathVolumes':
    case 'restrictedVolumes':
      return keep(
        'Where the data should lie instead is a decision: emptyDir for what may be lost, a claim for what may not.',
        pod.volumes.find((volume) => volume.hostPath !== null)?.path ?? [...podPath, 'volumes'],
      )
    case 'hostPorts':
      return keep(
        'Clients may use the port of the node; a service takes its place.',
        pod.containers.find((container) => container.ports.some((port) => port.host !== 0))?.path ?? first,
      )
    case 'hostProbesAndHostLifecycle':
      return keep(
        'Take the host away: the probe then asks the pod. If it must ask another, it is no probe of this pod.',
        pod.containers.find((container) => container.probeHosts.length > 0)?.path ?? first,
      )
    case 'privileged':
      return keep(
        'What it does on the node decides what takes its place.',
        field(
          pod.containers.find((container) => container.security.privileged === true) ?? emptyFor(workload),
          'privileged',
        ),
      )
    case 'runAsUser':
      return keep('Whether the image works as another user is known only to who made it.', [
        ...podPath,
        'securityContext',
        'runAsUser',
      ])
    case 'sysctls':
      return keep('The sysctl was set for a reason that is not written here.', [
        ...podPath,
        'securityContext',
        'sysctls',
      ])
    default:
      return keep('What was chosen here needs knowledge of the program.')
  }
}

/** The API server refuses the field beside these, so a pod that has them cannot be mended by it. */
function needsEscalation(container: Container): boolean {
  return (
    container.security.privileged === true ||
    (container.security.capabilities?.add ?? []).some((name) => name === 'SYS_ADMIN' || name === 'CAP_SYS_ADMIN')
  )
}

function mendEscalation(workload: Workload): Mending {
  const bad = workload.pod.containers.filter(({ security }) => security.allowPrivilegeEscalation !== false)
  const stuck = bad.filter(needsEscalation)
  const left =
    stuck.length === 0
      ? null
      : `${names(stuck)} is privileged or has SYS_ADMIN, and the API server refuses the field beside that.`
  const edits = bad
    .filter((container) => !needsEscalation(container))
    .map((container) => set(workload, field(container, 'allowPrivilegeEscalation'), false))
  return { edits, left, path: field(bad[0] ?? emptyFor(workload), 'allowPrivilegeEscalation') }
}

function mendCapabilities(workload: Workload): Mending {
  const containers = workload.pod.containers
  const bad = containers.filter(({ security }) => !(security.capabilities?.drop ?? []).includes('ALL'))
  const adding = containers.filter(({ security }) =>
    (security.capabilities?.add ?? []).some((name) => name !== 'NET_BIND_SERVICE'),
  )
  const left =
    adding.length === 0
      ? null
      : `${names(adding)} adds capabilities: whether it works without is known only to who runs it.`
  const edits = bad.map((container) => set(workload, [...field(container, 'capabilities', 'drop'), '+'], 'ALL'))
  return { edits, left, path: field(bad[0] ?? adding[0] ?? emptyFor(workload), 'capabilities') }
}

function mendSeccomp(workload: Workload): Mending {
  const { pod, podPath } = workload
  const value = 'RuntimeDefault'
  const explicit = pod.containers.filter((container) => badSeccomp(container.security))
  const silent = pod.containers.some((container) => container.security.seccompType === undefined)
  const podPathOf = [...podPath, 'securityContext', 'seccompProfile', 'type']
  const podLevel =
    badSeccomp(pod.security) || (silent && pod.security.seccompType === undefined)
      ? [set(workload, podPathOf, value)]
      : []
  const edits = [
    ...podLevel,
    ...explicit.map((container) => set(workload, field(container, 'seccompProfile', 'type'), value)),
  ]
  return { edits, left: null, path: explicit[0] === undefined ? podPathOf : field(explicit[0], 'seccompProfile') }
}

/** Safe only where a user other than root is set already: then the field says what is so. */
function mendNonRoot(workload: Workload): Mending {
  const { pod, podPath } = workload
  const path = [...podPath, 'securityContext', 'runAsNonRoot']
  const explicit =
    pod.security.runAsNonRoot === false || pod.containers.some(({ security }) => security.runAsNonRoot === false)
  const users = pod.containers.map(({ security }) => security.runAsUser ?? pod.security.runAsUser)
  if (!explicit && users.every((user) => user !== undefined && user > 0))
    return { edits: [set(workload, path, true)], left: null, path }
  const left = explicit
    ? 'It was set to false: the image needs root, or somebody thought so.'
    : 'Whether the image runs as another user than root is known only to who made it: with runAsNonRoot it will not start if it does not.'
  return { edits: [], left, path }
}

function names(containers: readonly Container[]): string {
  return containers.map((container) => `"${container.name}"`).join(', ')
}

function emptyFor(workload: Workload): Container {
  const found = workload.pod.containers[0]
  if (found === undefined) throw new Error('a pod without containers violates nothing of its containers')
  return found
}
