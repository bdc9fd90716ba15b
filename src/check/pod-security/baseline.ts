/**
 * The checks of the baseline level, each decided as an API server decides it. A check answers null when the pod passes, else
 * the reason that is always shown and the detail that is shown for a single pod.
 */
import type { Pod, Security } from '../pod.ts'
import { containersNamed, distinct, namesOf, plural, quoted, setters } from './words.ts'

export interface Forbidden {
  readonly reason: string
  readonly detail: string
}

export type PodCheck = (pod: Pod) => Forbidden | null

const appArmorPrefix = 'container.apparmor.security.beta.kubernetes.io/'
const seccompPod = 'seccomp.security.alpha.kubernetes.io/pod'
const seccompPrefix = 'container.seccomp.security.alpha.kubernetes.io/'

export function appArmorProfile(pod: Pod): Forbidden | null {
  const bad = (security: Security): boolean =>
    security.appArmorType !== undefined && !['RuntimeDefault', 'Localhost'].includes(security.appArmorType)
  const containers = pod.containers.filter((container) => bad(container.security))
  const annotations = Object.entries(pod.annotations)
    .filter(([key]) => key.startsWith(appArmorPrefix))
    .filter(([, value]) => value !== '' && value !== 'runtime/default' && !value.startsWith('localhost/'))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .sort()
  const who = [
    ...setters(bad(pod.security), namesOf(containers)),
    ...(annotations.length > 0 ? [plural('annotation', 'annotations', annotations.length)] : []),
  ]
  if (who.length === 0) return null
  const types = [...(bad(pod.security) ? [pod.security] : []), ...containers.map((container) => container.security)]
  const values = [...distinct(types.map((security) => security.appArmorType ?? '')), ...annotations]
  return {
    reason: plural('forbidden AppArmor profile', 'forbidden AppArmor profiles', values.length),
    detail: `${who.join(' and ')} must not set AppArmor profile type to ${quoted(values)}`,
  }
}

const defaultCapabilities: ReadonlySet<string> = new Set(
  [
    'AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE',
    'SETFCAP SETGID SETPCAP SETUID SYS_CHROOT',
  ].flatMap((line) => line.split(' ')),
)

export function capabilitiesBaseline(pod: Pod): Forbidden | null {
  const added = (container: Pod['containers'][number]): readonly string[] =>
    (container.security.capabilities?.add ?? []).filter((name) => !defaultCapabilities.has(name))
  const bad = pod.containers.filter((container) => added(container).length > 0)
  if (bad.length === 0) return null
  const names = quoted(distinct(bad.flatMap(added)))
  return {
    reason: 'non-default capabilities',
    detail: `${containersNamed(namesOf(bad))} must not include ${names} in securityContext.capabilities.add`,
  }
}

export function hostNamespaces(pod: Pod): Forbidden | null {
  const shared = [
    ...(pod.hostNetwork ? ['hostNetwork=true'] : []),
    ...(pod.hostPid ? ['hostPID=true'] : []),
    ...(pod.hostIpc ? ['hostIPC=true'] : []),
  ]
  return shared.length === 0 ? null : { reason: 'host namespaces', detail: shared.join(', ') }
}

export function hostPathVolumes(pod: Pod): Forbidden | null {
  const names = pod.volumes.filter((volume) => volume.hostPath !== null).map((volume) => volume.name)
  if (names.length === 0) return null
  return { reason: 'hostPath volumes', detail: `${plural('volume', 'volumes', names.length)} ${quoted(names)}` }
}

export function hostPorts(pod: Pod): Forbidden | null {
  const bad = pod.containers.filter((container) => container.ports.some((port) => port.host !== 0))
  if (bad.length === 0) return null
  const ports = distinct(
    bad.flatMap((container) => container.ports.filter((port) => port.host !== 0).map((port) => `${port.host}`)),
  )
  const uses = `${plural('uses', 'use', bad.length)} ${plural('hostPort', 'hostPorts', ports.length)}`
  return { reason: 'hostPort', detail: `${containersNamed(namesOf(bad))} ${uses} ${ports.join(', ')}` }
}

export function hostProbes(pod: Pod): Forbidden | null {
  const bad = distinct(namesOf(pod.containers.filter((container) => container.probeHosts.length > 0)))
  if (bad.length === 0) return null
  const hosts = distinct(pod.containers.flatMap((container) => container.probeHosts))
  const what = plural('probe or lifecycle host', 'probe or lifecycle hosts', hosts.length)
  return {
    reason: 'probe or lifecycle host',
    detail: `${containersNamed(bad)} ${plural('uses', 'use', bad.length)} ${what} ${quoted(hosts)}`,
  }
}

export function privileged(pod: Pod): Forbidden | null {
  const bad = pod.containers.filter((container) => container.security.privileged === true)
  if (bad.length === 0) return null
  return {
    reason: 'privileged',
    detail: `${containersNamed(namesOf(bad))} must not set securityContext.privileged=true`,
  }
}

export function procMount(pod: Pod): Forbidden | null {
  const bad = pod.containers.filter(
    ({ security }) => security.procMount !== undefined && security.procMount !== 'Default',
  )
  if (bad.length === 0) return null
  const types = quoted(distinct(bad.map(({ security }) => security.procMount ?? '')))
  return {
    reason: 'procMount',
    detail: `${containersNamed(namesOf(bad))} must not set securityContext.procMount to ${types}`,
  }
}

/** A pod with a user namespace of its own: root in it is nobody on the node. */
export function hasOwnUsers(pod: Pod): boolean {
  return pod.hostUsers === false
}

const seLinuxTypes = ['', 'container_t', 'container_init_t', 'container_kvm_t']

/** `engine`: also the type for engines inside containers, allowed since 1.31. */
export function seLinuxOptions(pod: Pod, engine: boolean): Forbidden | null {
  const allowed = [...seLinuxTypes, ...(engine ? ['container_engine_t'] : [])]
  const bad = ({ seLinux }: Security): boolean =>
    seLinux !== undefined && (!allowed.includes(seLinux.type) || seLinux.user !== '' || seLinux.role !== '')
  const containers = pod.containers.filter((container) => bad(container.security))
  const who = setters(bad(pod.security), namesOf(containers))
  if (who.length === 0) return null
  const options = [pod.security, ...containers.map((container) => container.security)]
    .map((security) => security.seLinux)
    .filter((option) => option !== undefined)
  const types = distinct(options.map((option) => option.type).filter((type) => !allowed.includes(type)))
  const data = [
    ...(types.length > 0 ? [`${plural('type', 'types', types.length)} ${quoted(types)}`] : []),
    ...(options.some((option) => option.user !== '') ? ['user may not be set'] : []),
    ...(options.some((option) => option.role !== '') ? ['role may not be set'] : []),
  ]
  return {
    reason: 'seLinuxOptions',
    detail: `${who.join(' and ')} set forbidden securityContext.seLinuxOptions: ${data.join('; ')}`,
  }
}

/** Up to 1.18, by annotations. */
export function seccompAnnotations(pod: Pod): Forbidden | null {
  const allowed = (value: string): boolean =>
    value === 'runtime/default' || value === 'docker/default' || value.startsWith('localhost/')
  const keys = [seccompPod, ...pod.containers.map((container) => `${seccompPrefix}${container.name}`)]
  const forbidden = distinct(
    keys.flatMap((key) => {
      const value = pod.annotations[key]
      return value === undefined || allowed(value) ? [] : [`${key}=${JSON.stringify(value)}`]
    }),
  )
  if (forbidden.length === 0) return null
  const what = plural('annotation', 'annotations', forbidden.length)
  return { reason: 'seccompProfile', detail: `forbidden ${what} ${forbidden.join(', ')}` }
}

export function badSeccomp(security: Security): boolean {
  return security.seccompType !== undefined && !['RuntimeDefault', 'Localhost'].includes(security.seccompType)
}

/** From 1.19 on, by fields. */
export function seccompFields(pod: Pod): Forbidden | null {
  const containers = pod.containers.filter((container) => badSeccomp(container.security))
  const who = setters(badSeccomp(pod.security), namesOf(containers))
  if (who.length === 0) return null
  const types = [
    ...(badSeccomp(pod.security) ? [pod.security] : []),
    ...containers.map((container) => container.security),
  ]
  const values = quoted(distinct(types.map((security) => security.seccompType ?? '')))
  return {
    reason: 'seccompProfile',
    detail: `${who.join(' and ')} must not set securityContext.seccompProfile.type to ${values}`,
  }
}

/** Sysctls that concern one pod alone, and the version from which on they count as such. */
const safeSysctls: Readonly<Record<string, number>> = {
  'kernel.shm_rmid_forced': 0,
  'net.ipv4.ip_local_port_range': 0,
  'net.ipv4.tcp_syncookies': 0,
  'net.ipv4.ping_group_range': 0,
  'net.ipv4.ip_unprivileged_port_start': 0,
  'net.ipv4.ip_local_reserved_ports': 27,
  'net.ipv4.tcp_keepalive_time': 29,
  'net.ipv4.tcp_fin_timeout': 29,
  'net.ipv4.tcp_keepalive_intvl': 29,
  'net.ipv4.tcp_keepalive_probes': 29,
  'net.ipv4.tcp_rmem': 32,
  'net.ipv4.tcp_wmem': 32,
  'net.ipv4.tcp_slow_start_after_idle': 37,
  'net.ipv4.tcp_notsent_lowat': 37,
}

export function sysctls(pod: Pod, minor: number): Forbidden | null {
  const forbidden = pod.sysctls.filter(
    (name) => !(Object.hasOwn(safeSysctls, name) && (safeSysctls[name] ?? 0) <= minor),
  )
  return forbidden.length === 0 ? null : { reason: 'forbidden sysctls', detail: forbidden.join(', ') }
}

export function windowsHostProcess(pod: Pod): Forbidden | null {
  const containers = pod.containers.filter((container) => container.security.windowsHostProcess === true)
  const who = setters(pod.security.windowsHostProcess === true, namesOf(containers))
  if (who.length === 0) return null
  return {
    reason: 'hostProcess',
    detail: `${who.join(' and ')} must not set securityContext.windowsOptions.hostProcess=true`,
  }
}
