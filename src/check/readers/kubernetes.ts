/**
 * Kubernetes objects, also as Helm and kustomize print them: several documents, lists, items of lists. Kinds that hold
 * nothing a rule reads are counted; kinds of outside API groups are unknown, and said to be.
 */
import { placeOf } from '../inventory.ts'
import type { Inventory, Namespace, Subject, WayIn, Workload } from '../inventory.ts'
import type { SourceFile } from '../source.ts'
import { at, entriesOf, itemsOf, numberOf, recordOf, textOf, textsOf } from '../tree.ts'
import type { Path, Tree } from '../tree.ts'
import { readKubernetesPolicy } from './kubernetes-policy.ts'
import { readPod } from './pod.ts'

/** Kinds with pods, and where the pod's template stands. */
const templates: Readonly<Record<string, Path>> = {
  Pod: [],
  PodTemplate: ['template'],
  ReplicationController: ['spec', 'template'],
  ReplicaSet: ['spec', 'template'],
  Deployment: ['spec', 'template'],
  StatefulSet: ['spec', 'template'],
  DaemonSet: ['spec', 'template'],
  Job: ['spec', 'template'],
  CronJob: ['spec', 'jobTemplate', 'spec', 'template'],
}

/** API groups of Kubernetes itself: a kind of another group is somebody's own. */
const ownGroups = /^(?:|apps|batch|extensions|policy|autoscaling|[a-z.]+\.k8s\.io)$/

/** Groups that end in k8s.io and are still not the API server's. */
const foreignGroups =
  /^(?:gateway\.networking|snapshot\.storage|metrics|custom\.metrics|external\.metrics)\.k8s\.io$|\.x-k8s\.io$/

export function isKubernetes(tree: Tree): boolean {
  return textOf(at(tree, 'apiVersion')) !== undefined && textOf(at(tree, 'kind')) !== undefined
}

/** Adds the object, or the objects of a list, to the inventory. */
export function readKubernetes(source: SourceFile, tree: Tree, inventory: Inventory, documentStart: number): void {
  visit(source, tree, [], inventory, documentStart)
}

function visit(source: SourceFile, tree: Tree, path: Path, inventory: Inventory, documentStart: number): void {
  const kind = textOf(at(tree, 'kind')) ?? ''
  const items = at(tree, 'items')
  if (kind.endsWith('List') && items?.kind === 'list') {
    for (const [index, item] of items.items.entries())
      visit(source, item, [...path, 'items', index], inventory, documentStart)
    return
  }
  const subject = subjectOf(source, tree, path, documentStart)
  if (tree.kind !== 'map' || kind === '') {
    const message = 'an item of a list has no kind, so nothing is known about it'
    inventory.problems.push({ code: 'check.bad-object', message, hint: null, place: placeOf(subject) })
    return
  }
  const group = groupOf(tree)
  if (group === 'gateway.networking.k8s.io' && /^(?:HTTP|GRPC)Route$/.test(kind)) {
    inventory.routes.push(readGatewayRoute(subject))
    return
  }
  const known = ownGroups.test(group) && !foreignGroups.test(group)
  if (!known || !readKnown(subject, inventory)) (known ? inventory.others : inventory.unknowns).push(subject)
}

function subjectOf(source: SourceFile, tree: Tree, path: Path, documentStart: number): Subject {
  return {
    platform: 'kubernetes',
    kind: textOf(at(tree, 'kind')) ?? '(no kind)',
    name: textOf(at(tree, 'metadata', 'name')) ?? textOf(at(tree, 'metadata', 'generateName')) ?? '(no name)',
    namespace: textOf(at(tree, 'metadata', 'namespace')) ?? 'default',
    source,
    tree,
    path,
    documentStart,
  }
}

/** A route of the Gateway API. Whether its gateway ends TLS is said by the gateway. */
function readGatewayRoute(subject: Subject): Inventory['routes'][number] {
  const backends = itemsOf(at(subject.tree, 'spec', 'rules')).flatMap((rule) => itemsOf(at(rule, 'backendRefs')))
  const services = backends.filter((backend) => (textOf(at(backend, 'kind')) ?? 'Service') === 'Service')
  const hosts = textsOf(at(subject.tree, 'spec', 'hostnames'))
  return {
    ...subject,
    hosts: hosts.length === 0 ? ['*'] : hosts,
    services: services.map((backend) => textOf(at(backend, 'name'))).filter((name) => name !== undefined),
    tls: null,
  }
}

function groupOf(tree: Tree): string {
  const version = textOf(at(tree, 'apiVersion')) ?? ''
  return version.includes('/') ? (version.split('/')[0] ?? '') : ''
}

/** Adds an object of Kubernetes itself; false when no rule reads its kind. */
function readKnown(subject: Subject, inventory: Inventory): boolean {
  const template = templates[subject.kind]
  if (template !== undefined) {
    inventory.workloads.push(readWorkload(subject, template, inventory))
    return true
  }
  switch (subject.kind) {
    case 'Service':
      inventory.waysIn.push(readService(subject))
      return true
    case 'Namespace':
      inventory.namespaces.push(readNamespace(subject))
      return true
    case 'Ingress':
      inventory.routes.push({
        ...subject,
        hosts: itemsOf(at(subject.tree, 'spec', 'rules')).map((rule) => textOf(at(rule, 'host')) ?? '*'),
        services: ingressServices(subject.tree),
        tls: itemsOf(at(subject.tree, 'spec', 'tls')).length > 0,
      })
      return true
    case 'ConfigMap':
    case 'Secret':
      inventory.configs.push({ ...subject, secret: subject.kind === 'Secret', values: configValues(subject) })
      return true
    default:
      return readKubernetesPolicy(subject, inventory)
  }
}

function readWorkload(subject: Subject, template: Path, inventory: Inventory): Workload {
  const { tree, kind, source } = subject
  const podPath = [...template, 'spec']
  if (at(tree, ...podPath) === undefined) {
    const message = `${kind} ${subject.name} has no pod specification at ${podPath.join('.')}`
    inventory.problems.push({ code: 'check.bad-object', message, hint: null, place: placeOf(subject, ...podPath) })
  }
  const pod = readPod(
    { source, tree, path: podPath, problems: inventory.problems },
    at(tree, ...template, 'metadata'),
    kind !== 'Pod',
  )
  const strategy = textOf(at(tree, 'spec', 'strategy', 'type'))
  const unavailable = textOf(at(tree, 'spec', 'strategy', 'rollingUpdate', 'maxUnavailable'))
  const replicas = numberOf(at(tree, 'spec', 'replicas')) ?? 1
  return {
    ...subject,
    role: kind === 'Job' || kind === 'CronJob' ? 'job' : kind === 'DaemonSet' ? 'daemon' : 'service',
    replicas:
      kind === 'DaemonSet' ? null : kind === 'Job' ? (numberOf(at(tree, 'spec', 'parallelism')) ?? 1) : replicas,
    stateful: kind === 'StatefulSet' || pod.volumes.some((volume) => volume.type === 'persistentVolumeClaim'),
    pod,
    podPath,
    dependsOn: [],
    egress: null,
    restarts: null,
    replacedAtOnce:
      strategy === 'Recreate' || unavailable === '100%' || (replicas > 0 && unavailable === String(replicas)),
  }
}

function readService(subject: Subject): WayIn {
  const spec = at(subject.tree, 'spec')
  const type = textOf(at(spec, 'type')) ?? 'ClusterIP'
  const annotations = recordOf(at(subject.tree, 'metadata', 'annotations'))
  const internal = Object.entries(annotations).some(
    ([key, value]) => /internal|scheme/.test(key) && /^(?:true|internal|Internal|0\.0\.0\.0\/0)$/.test(value),
  )
  return {
    ...subject,
    exposure: type === 'LoadBalancer' && !internal ? 'public' : type === 'NodePort' ? 'node' : 'inside',
    selector: at(spec, 'selector') === undefined ? null : recordOf(at(spec, 'selector')),
    target: null,
    ports: itemsOf(at(spec, 'ports')).map((port, index) => {
      const target = at(port, 'targetPort')
      return {
        port: numberOf(at(port, 'port')) ?? 0,
        target: numberOf(target) ?? textOf(target) ?? null,
        path: ['spec', 'ports', index],
      }
    }),
  }
}

function readNamespace(subject: Subject): Namespace {
  return { ...subject, namespace: '', labels: recordOf(at(subject.tree, 'metadata', 'labels')) }
}

function ingressServices(tree: Tree): readonly string[] {
  const paths = itemsOf(at(tree, 'spec', 'rules')).flatMap((rule) => itemsOf(at(rule, 'http', 'paths')))
  const backends = [...paths.map((path) => at(path, 'backend')), at(tree, 'spec', 'defaultBackend')]
  return backends
    .map((backend) => textOf(at(backend, 'service', 'name')) ?? textOf(at(backend, 'serviceName')))
    .filter((name) => name !== undefined)
}

/** Longest value that is looked at: dashboards and certificates hold nothing that a rule reads. */
const valueMax = 4096

function configValues(subject: Subject): Inventory['configs'][number]['values'] {
  const fields = subject.kind === 'Secret' ? ['data', 'stringData'] : ['data']
  return fields.flatMap((field) =>
    entriesOf(at(subject.tree, field)).flatMap(([key, { value }]) => {
      const text = textOf(value)
      if (text === undefined || text.length > valueMax) return []
      return [
        { key, value: field === 'data' && subject.kind === 'Secret' ? decodeBase64(text) : text, path: [field, key] },
      ]
    }),
  )
}

function decodeBase64(text: string): string {
  try {
    return atob(text.trim())
  } catch {
    return text
  }
}
