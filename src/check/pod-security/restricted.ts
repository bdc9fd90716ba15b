/** The checks that the restricted level adds, or puts in place of weaker ones of baseline. */
import type { Pod } from '../pod.ts'
import { badSeccomp, seccompFields } from './baseline.ts'
import type { Forbidden } from './baseline.ts'
import { containersNamed, distinct, namesOf, plural, quoted, setters } from './words.ts'

/** Pods that say they are for Windows, where Linux security fields must not be set. */
export function isWindows(pod: Pod): boolean {
  return pod.os === 'windows'
}

export function allowPrivilegeEscalation(pod: Pod): Forbidden | null {
  const bad = pod.containers.filter((container) => container.security.allowPrivilegeEscalation !== false)
  if (bad.length === 0) return null
  return {
    reason: 'allowPrivilegeEscalation != false',
    detail: `${containersNamed(namesOf(bad))} must set securityContext.allowPrivilegeEscalation=false`,
  }
}

export function capabilitiesRestricted(pod: Pod): Forbidden | null {
  const keeping = pod.containers.filter(({ security }) => !(security.capabilities?.drop ?? []).includes('ALL'))
  const extra = (container: Pod['containers'][number]): readonly string[] =>
    (container.security.capabilities?.add ?? []).filter((name) => name !== 'NET_BIND_SERVICE')
  const adding = pod.containers.filter((container) => extra(container).length > 0)
  const details = [
    ...(keeping.length > 0
      ? [`${containersNamed(namesOf(keeping))} must set securityContext.capabilities.drop=["ALL"]`]
      : []),
    ...(adding.length > 0
      ? [
          `${containersNamed(namesOf(adding))} must not include ${quoted(distinct(adding.flatMap(extra)))} in securityContext.capabilities.add`,
        ]
      : []),
  ]
  return details.length === 0 ? null : { reason: 'unrestricted capabilities', detail: details.join('; ') }
}

const managedVolumes = 'configMap csi downwardAPI emptyDir ephemeral image persistentVolumeClaim projected secret'

export function restrictedVolumes(pod: Pod): Forbidden | null {
  const allowed = managedVolumes.split(' ')
  const bad = pod.volumes.filter((volume) => !allowed.includes(volume.type))
  if (bad.length === 0) return null
  const types = distinct(bad.map((volume) => volume.type))
  const names = bad.map((volume) => volume.name)
  return {
    reason: 'restricted volume types',
    detail: [
      plural('volume', 'volumes', names.length),
      quoted(names),
      plural('uses', 'use', names.length),
      plural('restricted volume type', 'restricted volume types', types.length),
      quoted(types),
    ].join(' '),
  }
}

export function runAsNonRoot(pod: Pod): Forbidden | null {
  const explicit = pod.containers.filter((container) => container.security.runAsNonRoot === false)
  const who = setters(pod.security.runAsNonRoot === false, namesOf(explicit))
  if (who.length > 0) {
    return {
      reason: 'runAsNonRoot != true',
      detail: `${who.join(' and ')} must not set securityContext.runAsNonRoot=false`,
    }
  }
  const silent = pod.containers.filter((container) => container.security.runAsNonRoot === undefined)
  if (silent.length === 0 || pod.security.runAsNonRoot === true) return null
  return {
    reason: 'runAsNonRoot != true',
    detail: `pod or ${containersNamed(namesOf(silent))} must set securityContext.runAsNonRoot=true`,
  }
}

export function runAsUser(pod: Pod): Forbidden | null {
  const containers = pod.containers.filter((container) => container.security.runAsUser === 0)
  const who = setters(pod.security.runAsUser === 0, namesOf(containers))
  if (who.length === 0) return null
  return { reason: 'runAsUser=0', detail: `${who.join(' and ')} must not set runAsUser=0` }
}

export function seccompRestricted(pod: Pod): Forbidden | null {
  const explicit = seccompFields(pod)
  if (explicit !== null) return explicit
  const covered = pod.security.seccompType !== undefined && !badSeccomp(pod.security)
  const silent = pod.containers.filter((container) => container.security.seccompType === undefined)
  if (silent.length === 0 || covered) return null
  return {
    reason: 'seccompProfile',
    detail: `pod or ${containersNamed(namesOf(silent))} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"`,
  }
}
