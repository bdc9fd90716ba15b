/** A pod from its Kubernetes form. What the API server would refuse to decode becomes a problem; nothing is guessed. */
import { noContainerSecurity, noSecurity } from '../pod.ts'
import type { Container, ContainerRole, ContainerSecurity, EnvironmentValue, Pod, Security, Volume } from '../pod.ts'
import type { Problem, SourceFile } from '../source.ts'
import { at, booleanOf, itemsOf, numberOf, offsetAt, recordOf, textOf, textsOf } from '../tree.ts'
import type { Path, Tree } from '../tree.ts'

/** Kinds of volumes, in the order in which the standards look for them. */
const volumeTypes: readonly string[] = [
  'configMap csi downwardAPI emptyDir ephemeral image persistentVolumeClaim projected secret',
  'hostPath gcePersistentDisk awsElasticBlockStore gitRepo nfs iscsi glusterfs rbd flexVolume',
  'cinder cephfs flocker fc azureFile vsphereVolume quobyte azureDisk photonPersistentDisk',
  'portworxVolume scaleIO storageos',
].flatMap((line) => line.split(' '))

export interface PodContext {
  readonly source: SourceFile
  /** The object's root, and the path from there to the pod's specification. */
  readonly tree: Tree
  readonly path: Path
  readonly problems: Problem[]
}

/** Reads a specification. `template`: it is one of a controller, whose host ports have no defaults yet. */
export function readPod(context: PodContext, metadata: Tree | undefined, template: boolean): Pod {
  const spec = at(context.tree, ...context.path)
  const reader = new FieldReader(context)
  const hostNetwork = reader.boolean('hostNetwork') ?? false
  // On creation of a pod, ports of a pod on the host's network become host ports.
  const portDefaults = hostNetwork && !template
  const containers = [
    ...readContainers(reader, spec, 'initContainers', portDefaults),
    ...readContainers(reader, spec, 'containers', portDefaults),
    ...readContainers(reader, spec, 'ephemeralContainers', false),
  ]
  return {
    annotations: recordOf(at(metadata, 'annotations')),
    labels: recordOf(at(metadata, 'labels')),
    security: readSecurity(reader, at(spec, 'securityContext'), ['securityContext']),
    sysctls: itemsOf(at(spec, 'securityContext', 'sysctls')).map((item) => textOf(at(item, 'name')) ?? ''),
    hostNetwork,
    hostPid: reader.boolean('hostPID') ?? false,
    hostIpc: reader.boolean('hostIPC') ?? false,
    hostUsers: reader.boolean('hostUsers'),
    os: textOf(at(spec, 'os', 'name')),
    serviceAccount: textOf(at(spec, 'serviceAccountName')) ?? textOf(at(spec, 'serviceAccount')) ?? null,
    automountToken: reader.boolean('automountServiceAccountToken'),
    volumes: itemsOf(at(spec, 'volumes')).map((item, index) => readVolume(item, [...context.path, 'volumes', index])),
    containers,
    spread: spreadOf(spec),
  }
}

function spreadOf(spec: Tree | undefined): Pod['spread'] {
  const affinity = at(spec, 'affinity', 'podAntiAffinity')
  const terms = [
    ...itemsOf(at(spec, 'topologySpreadConstraints')),
    ...itemsOf(at(affinity, 'requiredDuringSchedulingIgnoredDuringExecution')),
    ...itemsOf(at(affinity, 'preferredDuringSchedulingIgnoredDuringExecution')).map((term) =>
      at(term, 'podAffinityTerm'),
    ),
  ]
  const keys = terms.map((term) => textOf(at(term, 'topologyKey')) ?? '')
  if (keys.some((key) => key.endsWith('/zone') || key.endsWith('/region'))) return 'zone'
  return keys.length > 0 ? 'node' : 'none'
}

/** Reads fields below the specification and notes the ones of a wrong type. */
class FieldReader {
  readonly context: PodContext

  constructor(context: PodContext) {
    this.context = context
  }

  boolean(...path: Path): boolean | undefined {
    const found = at(this.context.tree, ...this.context.path, ...path)
    const value = booleanOf(found)
    if (found !== undefined && value === undefined) this.#wrong(path, 'true or false')
    return value
  }

  number(...path: Path): number | undefined {
    const found = at(this.context.tree, ...this.context.path, ...path)
    if (found === undefined) return undefined
    if (found.kind === 'scalar' && typeof found.value === 'number') return found.value
    this.#wrong(path, 'a number')
    return numberOf(found)
  }

  #wrong(path: Path, expected: string): void {
    const { source, tree } = this.context
    const full = [...this.context.path, ...path]
    this.context.problems.push({
      code: 'check.wrong-type',
      message: `${full.join('.')} must be ${expected}: the API server refuses what stands here`,
      hint: 'Texts in quotes are no truth values and no numbers.',
      place: { source, offset: offsetAt(tree, full) },
    })
  }
}

function readSecurity(reader: FieldReader, tree: Tree | undefined, path: Path): Security {
  if (tree?.kind !== 'map') return noSecurity
  const seLinux = at(tree, 'seLinuxOptions')
  return {
    appArmorType: typeOf(at(tree, 'appArmorProfile')),
    seccompType: typeOf(at(tree, 'seccompProfile')),
    seLinux:
      seLinux === undefined
        ? undefined
        : {
            type: textOf(at(seLinux, 'type')) ?? '',
            user: textOf(at(seLinux, 'user')) ?? '',
            role: textOf(at(seLinux, 'role')) ?? '',
          },
    runAsNonRoot: reader.boolean(...path, 'runAsNonRoot'),
    runAsUser: reader.number(...path, 'runAsUser'),
    windowsHostProcess: reader.boolean(...path, 'windowsOptions', 'hostProcess'),
  }
}

/** The type of a profile: '' when the profile is there and has none. */
function typeOf(profile: Tree | undefined): string | undefined {
  return profile === undefined ? undefined : (textOf(at(profile, 'type')) ?? '')
}

function readContainerSecurity(reader: FieldReader, tree: Tree | undefined, path: Path): ContainerSecurity {
  if (tree?.kind !== 'map') return noContainerSecurity
  const capabilities = at(tree, 'capabilities')
  return {
    ...readSecurity(reader, tree, path),
    privileged: reader.boolean(...path, 'privileged'),
    allowPrivilegeEscalation: reader.boolean(...path, 'allowPrivilegeEscalation'),
    capabilities:
      capabilities === undefined
        ? undefined
        : { add: textsOf(at(capabilities, 'add')), drop: textsOf(at(capabilities, 'drop')) },
    procMount: textOf(at(tree, 'procMount')),
    readOnlyRootFilesystem: reader.boolean(...path, 'readOnlyRootFilesystem'),
  }
}

function readContainers(
  reader: FieldReader,
  spec: Tree | undefined,
  field: 'initContainers' | 'containers' | 'ephemeralContainers',
  portDefaults: boolean,
): readonly Container[] {
  return itemsOf(at(spec, field)).map((item, index) => {
    const role = roleOf(field, item)
    const local = [field, index]
    const path = [...reader.context.path, ...local]
    return {
      name: textOf(at(item, 'name')) ?? '',
      role,
      image: textOf(at(item, 'image')) ?? null,
      security: readContainerSecurity(reader, at(item, 'securityContext'), [...local, 'securityContext']),
      ports: itemsOf(at(item, 'ports')).map((port) => {
        const container = numberOf(at(port, 'containerPort')) ?? 0
        const host = numberOf(at(port, 'hostPort')) ?? 0
        return {
          name: textOf(at(port, 'name')) ?? null,
          container,
          host: host === 0 && portDefaults ? container : host,
        }
      }),
      environment: readEnvironment(at(item, 'env'), [...path, 'env']),
      mounts: itemsOf(at(item, 'volumeMounts')).map((mount) => ({
        volume: textOf(at(mount, 'name')) ?? '',
        target: textOf(at(mount, 'mountPath')) ?? '',
        readOnly: booleanOf(at(mount, 'readOnly')) ?? false,
      })),
      command: [...textsOf(at(item, 'command')), ...textsOf(at(item, 'args'))],
      limits: recordOf(at(item, 'resources', 'limits')),
      requests: recordOf(at(item, 'resources', 'requests')),
      readiness: at(item, 'readinessProbe') !== undefined,
      liveness: at(item, 'livenessProbe') !== undefined,
      probeHosts: probeHosts(item),
      path,
    }
  })
}

function roleOf(field: string, item: Tree): ContainerRole {
  if (field === 'containers') return 'main'
  if (field === 'ephemeralContainers') return 'ephemeral'
  // An init container that is restarted always runs beside the main ones.
  return textOf(at(item, 'restartPolicy')) === 'Always' ? 'sidecar' : 'init'
}

function readEnvironment(tree: Tree | undefined, path: Path): readonly EnvironmentValue[] {
  return itemsOf(tree).map((item, index) => ({
    name: textOf(at(item, 'name')) ?? '',
    value: at(item, 'valueFrom') === undefined ? (textOf(at(item, 'value')) ?? '') : null,
    path: [...path, index],
  }))
}

function probeHosts(container: Tree): readonly string[] {
  const handlers = [
    ...['livenessProbe', 'readinessProbe', 'startupProbe'].map((probe) => at(container, probe)),
    ...['postStart', 'preStop'].map((hook) => at(container, 'lifecycle', hook)),
  ]
  return handlers
    .flatMap((handler) => [textOf(at(handler, 'httpGet', 'host')), textOf(at(handler, 'tcpSocket', 'host'))])
    .filter((host): host is string => host !== undefined && host !== '')
}

function readVolume(item: Tree, path: Path): Volume {
  // The API server makes an empty directory of a volume that says nothing, or nothing it knows.
  const type = volumeTypes.find((candidate) => at(item, candidate) !== undefined) ?? 'emptyDir'
  return {
    name: textOf(at(item, 'name')) ?? '',
    type,
    hostPath: type === 'hostPath' ? (textOf(at(item, 'hostPath', 'path')) ?? '') : null,
    source:
      textOf(at(item, 'configMap', 'name')) ??
      textOf(at(item, 'secret', 'secretName')) ??
      textOf(at(item, 'persistentVolumeClaim', 'claimName')) ??
      null,
    path,
  }
}
