/**
 * Compose files. A service becomes a workload of one instance on one machine; what Docker does by default (a seccomp
 * profile, a small set of capabilities, root) is said in the words of a pod. `extends` and `include` of other files are not
 * followed, and said not to be.
 */
import { placeOf } from '../inventory.ts'
import type { Inventory, Subject, WayIn, Workload } from '../inventory.ts'
import { noContainerSecurity, noSecurity } from '../pod.ts'
import type { Container, EnvironmentValue, Mount, Pod, Port, Volume } from '../pod.ts'
import type { SourceFile } from '../source.ts'
import { at, booleanOf, entriesOf, itemsOf, numberOf, recordOf, textOf, textsOf } from '../tree.ts'
import type { Path, Tree } from '../tree.ts'

export function isCompose(tree: Tree, path: string): boolean {
  const services = at(tree, 'services')
  if (services?.kind !== 'map') return false
  if (/(?:^|\/)(?:docker-)?compose[^/]*\.ya?ml$/.test(path)) return true
  return entriesOf(services).some(
    ([, { value }]) => at(value, 'image') !== undefined || at(value, 'build') !== undefined,
  )
}

export function readCompose(source: SourceFile, tree: Tree, inventory: Inventory, documentStart: number): void {
  for (const [name, { value }] of entriesOf(at(tree, 'services'))) {
    const path = ['services', name]
    const subject: Subject = {
      platform: 'compose',
      kind: 'service',
      name,
      namespace: '',
      source,
      tree,
      path: [],
      documentStart,
    }
    if (value.kind !== 'map') {
      const message = `the service ${name} is no map`
      inventory.problems.push({ code: 'check.bad-object', message, hint: null, place: placeOf(subject, ...path) })
      continue
    }
    if (at(value, 'extends') !== undefined) {
      const message = `the service ${name} extends another, which is not followed: what stands there is unknown here`
      const hint = 'Check what `docker compose config` prints.'
      inventory.problems.push({
        code: 'check.not-followed',
        message,
        hint,
        place: placeOf(subject, ...path, 'extends'),
      })
    }
    const workload = readService(subject, value, path)
    inventory.workloads.push(workload)
    for (const way of publishedPorts(workload, value, path)) inventory.waysIn.push(way)
  }
  if (at(tree, 'include') !== undefined) {
    const subject: Subject = {
      platform: 'compose',
      kind: 'file',
      name: source.path,
      namespace: '',
      source,
      tree,
      path: [],
      documentStart,
    }
    const message = 'the file includes others, which are not followed'
    const hint = 'Check what `docker compose config` prints.'
    inventory.problems.push({ code: 'check.not-followed', message, hint, place: placeOf(subject, 'include') })
  }
}

function readService(subject: Subject, tree: Tree, path: Path): Workload {
  const mounts = readMounts(tree, path)
  const restart = textOf(at(tree, 'restart')) ?? textOf(at(tree, 'deploy', 'restart_policy', 'condition'))
  const dependsOn = at(tree, 'depends_on')
  const pod: Pod = {
    annotations: {},
    labels: recordOf(at(tree, 'labels')),
    security: noSecurity,
    sysctls: entriesOf(at(tree, 'sysctls')).map(([key]) => key),
    hostNetwork: textOf(at(tree, 'network_mode')) === 'host',
    hostPid: textOf(at(tree, 'pid')) === 'host',
    hostIpc: textOf(at(tree, 'ipc')) === 'host',
    hostUsers: undefined,
    os: undefined,
    serviceAccount: null,
    automountToken: undefined,
    volumes: mounts.map((mount) => mount.volume),
    containers: [
      readContainer(
        subject.name,
        tree,
        path,
        mounts.map((mount) => mount.mount),
      ),
    ],
    spread: 'none',
  }
  return {
    ...subject,
    role: 'service',
    replicas: numberOf(at(tree, 'deploy', 'replicas')) ?? numberOf(at(tree, 'scale')) ?? 1,
    stateful: mounts.some(({ volume }) => volume.type === 'persistentVolumeClaim'),
    pod,
    podPath: path,
    dependsOn:
      dependsOn?.kind === 'list'
        ? textsOf(dependsOn).map((name) => ({ name, healthy: false }))
        : entriesOf(dependsOn).map(([name, { value }]) => ({
            name,
            healthy: textOf(at(value, 'condition')) === 'service_healthy',
          })),
    egress: null,
    restarts: restart !== undefined && restart !== 'no' && restart !== 'none',
    replacedAtOnce: true,
  }
}

function readContainer(name: string, tree: Tree, path: Path, mounts: readonly Mount[]): Container {
  const options = textsOf(at(tree, 'security_opt')).map((option) => option.replace('=', ':'))
  const seccomp = options.find((option) => option.startsWith('seccomp:'))?.slice('seccomp:'.length)
  const appArmor = options.find((option) => option.startsWith('apparmor:'))?.slice('apparmor:'.length)
  const user = textOf(at(tree, 'user'))?.split(':')[0]
  const numeric = user !== undefined && /^\d+$/.test(user) ? Number(user) : user === 'root' ? 0 : undefined
  const noNewPrivileges = options.some(
    (option) => option === 'no-new-privileges' || option === 'no-new-privileges:true',
  )
  const memory = textOf(at(tree, 'mem_limit')) ?? textOf(at(tree, 'deploy', 'resources', 'limits', 'memory'))
  const cpu = textOf(at(tree, 'cpus')) ?? textOf(at(tree, 'deploy', 'resources', 'limits', 'cpus'))
  const healthcheck = at(tree, 'healthcheck')
  const checked = healthcheck !== undefined && booleanOf(at(healthcheck, 'disable')) !== true
  return {
    name,
    role: 'main',
    image: textOf(at(tree, 'image')) ?? null,
    security: {
      ...noContainerSecurity,
      privileged: booleanOf(at(tree, 'privileged')),
      allowPrivilegeEscalation: noNewPrivileges ? false : undefined,
      capabilities: {
        add: textsOf(at(tree, 'cap_add')).map(plainCapability),
        drop: textsOf(at(tree, 'cap_drop')).map(plainCapability),
      },
      // Docker gives every container its own profiles unless told not to.
      seccompType: seccomp === undefined ? 'RuntimeDefault' : seccomp === 'unconfined' ? 'Unconfined' : 'Localhost',
      appArmorType: appArmor === undefined ? undefined : appArmor === 'unconfined' ? 'Unconfined' : 'Localhost',
      runAsUser: numeric,
      runAsNonRoot: numeric === undefined ? (user === undefined ? undefined : true) : numeric !== 0,
      readOnlyRootFilesystem: booleanOf(at(tree, 'read_only')),
    },
    ports: readPorts(tree).map(({ container }): Port => ({ name: null, container, host: 0 })),
    environment: readEnvironment(at(tree, 'environment'), [...path, 'environment']),
    mounts,
    command: commandOf(at(tree, 'command')),
    limits: { ...(memory === undefined ? {} : { memory }), ...(cpu === undefined ? {} : { cpu }) },
    requests: recordOf(at(tree, 'deploy', 'resources', 'reservations')),
    readiness: checked,
    liveness: checked,
    probeHosts: [],
    path,
  }
}

function commandOf(tree: Tree | undefined): readonly string[] {
  const text = textOf(tree)
  return text === undefined ? textsOf(tree) : text.split(/\s+/)
}

function plainCapability(name: string): string {
  return name.toUpperCase().replace(/^CAP_/, '')
}

function readEnvironment(tree: Tree | undefined, path: Path): readonly EnvironmentValue[] {
  if (tree?.kind === 'map') {
    return entriesOf(tree).map(([name, { value }]) => ({ name, value: textOf(value) ?? null, path: [...path, name] }))
  }
  return itemsOf(tree).flatMap((item, index) => {
    const text = textOf(item)
    if (text === undefined) return []
    const equals = text.indexOf('=')
    const name = equals === -1 ? text : text.slice(0, equals)
    return [{ name, value: equals === -1 ? null : text.slice(equals + 1), path: [...path, index] }]
  })
}

interface PublishedPort {
  readonly address: string
  readonly host: number | null
  readonly container: number
  readonly path: Path
}

/** Ports in the short form `[address:][host:]container[/protocol]` and in the long one. Ranges count with their first port. */
function readPorts(tree: Tree): readonly PublishedPort[] {
  return itemsOf(at(tree, 'ports')).flatMap((item, index) => {
    const path = ['ports', index]
    if (item.kind === 'map') {
      const container = numberOf(at(item, 'target'))
      if (container === undefined) return []
      const host = numberOf(at(item, 'published')) ?? null
      return [{ address: textOf(at(item, 'host_ip')) ?? '0.0.0.0', host, container, path }]
    }
    const text = textOf(item)?.split('/')[0] ?? ''
    const match = /^(?:(\[[^\]]*\]|[^:]*(?:\$\{[^}]*\})?[^:]*):)??(?:([^:]*|\$\{[^}]*\}):)?(\d+)(?:-\d+)?$/.exec(text)
    if (match === null) return []
    const host = /^\d+/.exec(match[2] ?? '')
    const address = match[1] === undefined || match[1] === '' ? '0.0.0.0' : match[1]
    return [{ address, host: host === null ? null : Number(host[0]), container: Number(match[3]), path }]
  })
}

function publishedPorts(workload: Workload, tree: Tree, path: Path): readonly WayIn[] {
  const ports = readPorts(tree)
  const local = /^(?:127\.|\[?::1\]?$|localhost$)/
  const group = (exposure: WayIn['exposure'], chosen: readonly PublishedPort[]): readonly WayIn[] =>
    chosen.length === 0
      ? []
      : [
          {
            platform: workload.platform,
            kind: 'port',
            name: workload.name,
            namespace: '',
            source: workload.source,
            tree: workload.tree,
            path: workload.path,
            documentStart: workload.documentStart,
            exposure,
            selector: null,
            target: workload.name,
            ports: chosen.map((port) => ({
              port: port.host ?? port.container,
              target: port.container,
              path: [...path, ...port.path],
            })),
          },
        ]
  return [
    ...group(
      'public',
      ports.filter((port) => !local.test(port.address)),
    ),
    ...group(
      'node',
      ports.filter((port) => local.test(port.address)),
    ),
  ]
}

function readMounts(tree: Tree, path: Path): readonly { readonly volume: Volume; readonly mount: Mount }[] {
  return itemsOf(at(tree, 'volumes')).flatMap((item, index) => {
    const own = [...path, 'volumes', index]
    if (item.kind === 'map') {
      const type = textOf(at(item, 'type')) ?? 'volume'
      return mountOf(
        type,
        textOf(at(item, 'source')) ?? '',
        textOf(at(item, 'target')) ?? '',
        booleanOf(at(item, 'read_only')) ?? false,
        own,
      )
    }
    const text = textOf(item)
    if (text === undefined) return []
    const parts = text.split(/:(?![^{]*\})/)
    const [from = '', to, mode = ''] = parts
    if (to === undefined) return mountOf('volume', '', from, false, own)
    const isPath = /^(?:[./~]|\$|[A-Za-z]:\\)/.test(from)
    return mountOf(isPath ? 'bind' : 'volume', from, to, mode.split(',').includes('ro'), own)
  })
}

function mountOf(
  type: string,
  from: string,
  target: string,
  readOnly: boolean,
  path: Path,
): readonly { volume: Volume; mount: Mount }[] {
  const name = from === '' ? target : from
  const kind = type === 'bind' ? 'hostPath' : type === 'tmpfs' ? 'emptyDir' : 'persistentVolumeClaim'
  const volume: Volume = {
    name,
    type: kind,
    hostPath: type === 'bind' ? from : null,
    source: type === 'volume' ? from : null,
    path,
  }
  return [{ volume, mount: { volume: name, target, readOnly } }]
}
