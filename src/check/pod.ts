/**
 * What one instance of a workload is allowed to do, in the terms of a Kubernetes pod: the terms most people know, and the
 * ones the Pod Security Standards are written in. Readers of other formats say the same things in these words.
 *
 * Undefined means that the input says nothing, which is not the same as false: the standards tell them apart.
 */
import type { Path } from './tree.ts'

export interface Security {
  /** Set when a profile is given at all; '' when it has no type. */
  readonly appArmorType: string | undefined
  readonly seccompType: string | undefined
  readonly seLinux: { readonly type: string; readonly user: string; readonly role: string } | undefined
  readonly runAsNonRoot: boolean | undefined
  readonly runAsUser: number | undefined
  readonly windowsHostProcess: boolean | undefined
}

export interface ContainerSecurity extends Security {
  readonly privileged: boolean | undefined
  readonly allowPrivilegeEscalation: boolean | undefined
  readonly capabilities: { readonly add: readonly string[]; readonly drop: readonly string[] } | undefined
  readonly procMount: string | undefined
  readonly readOnlyRootFilesystem: boolean | undefined
}

export interface Port {
  readonly name: string | null
  readonly container: number
  /** 0 when the port is not taken on the node. */
  readonly host: number
}

export interface EnvironmentValue {
  readonly name: string
  /** Null when it comes from elsewhere: a secret, a field. */
  readonly value: string | null
  readonly path: Path
}

export interface Mount {
  readonly volume: string
  readonly target: string
  readonly readOnly: boolean
}

export type ContainerRole = 'init' | 'main' | 'sidecar' | 'ephemeral'

export interface Container {
  readonly name: string
  readonly role: ContainerRole
  /** Null when it is built where it runs. */
  readonly image: string | null
  readonly security: ContainerSecurity
  readonly ports: readonly Port[]
  readonly environment: readonly EnvironmentValue[]
  readonly mounts: readonly Mount[]
  readonly command: readonly string[]
  readonly limits: Readonly<Record<string, string>>
  readonly requests: Readonly<Record<string, string>>
  readonly readiness: boolean
  readonly liveness: boolean
  /** Hosts other than the instance itself that its probes or lifecycle handlers ask. */
  readonly probeHosts: readonly string[]
  /** Where it stands, from the root of its object. */
  readonly path: Path
}

export interface Volume {
  readonly name: string
  /** The field that says what it is, as in `hostPath` or `emptyDir`. */
  readonly type: string
  /** Of a directory of the node. */
  readonly hostPath: string | null
  /** Name of the config map, secret or claim. */
  readonly source: string | null
  readonly path: Path
}

export interface Pod {
  readonly annotations: Readonly<Record<string, string>>
  readonly labels: Readonly<Record<string, string>>
  readonly security: Security
  readonly sysctls: readonly string[]
  readonly hostNetwork: boolean
  readonly hostPid: boolean
  readonly hostIpc: boolean
  /** False: a user namespace of its own. */
  readonly hostUsers: boolean | undefined
  readonly os: string | undefined
  readonly serviceAccount: string | null
  readonly automountToken: boolean | undefined
  readonly volumes: readonly Volume[]
  /** Init containers first, then the main ones, then ephemeral ones: the order in which they are named. */
  readonly containers: readonly Container[]
  /** What its instances are told to stand apart on. */
  readonly spread: 'none' | 'node' | 'zone'
}

/** A container's or pod's security of which nothing was said. */
export const noSecurity: Security = {
  appArmorType: undefined,
  seccompType: undefined,
  seLinux: undefined,
  runAsNonRoot: undefined,
  runAsUser: undefined,
  windowsHostProcess: undefined,
}

export const noContainerSecurity: ContainerSecurity = {
  ...noSecurity,
  privileged: undefined,
  allowPrivilegeEscalation: undefined,
  capabilities: undefined,
  procMount: undefined,
  readOnlyRootFilesystem: undefined,
}
