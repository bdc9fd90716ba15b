/**
 * Stead's own graph. What the platform gives every instance (its own user, no capabilities, a seccomp filter, limits, a
 * closed network) is said in the words of a pod; so a Stead app is held to `restricted`, and meets it.
 */
import type { Inventory, Subject, Workload } from '../inventory.ts'
import type { Json } from '../../base/index.ts'
import { noContainerSecurity, noSecurity } from '../pod.ts'
import type { SourceFile } from '../source.ts'
import { at, entriesOf, itemsOf, numberOf, textOf, textsOf } from '../tree.ts'
import type { Path, Tree } from '../tree.ts'

export function isSteadGraph(tree: Tree): boolean {
  return (
    numberOf(at(tree, 'version')) !== undefined &&
    textOf(at(tree, 'app')) !== undefined &&
    at(tree, 'parts')?.kind === 'list'
  )
}

/**
 * Reads the graph of an app file. Places are those of the app file: of a part, where its name stands in quotes.
 */
export function readSteadApp(appFile: SourceFile, graph: Json, inventory: Inventory): void {
  readSteadGraph(appFile, treeAt(graph, 0, appFile.text), inventory)
}

/** A tree whose parts stand where their names do. */
function treeAt(value: Json, offset: number, text: string): Tree {
  if (Array.isArray(value)) {
    const items = value.map((item: Json) => treeAt(item, offset, text))
    return { kind: 'list', offset, items, size: items.reduce((sum, item) => sum + item.size, 1) }
  }
  if (typeof value !== 'object' || value === null) return { kind: 'scalar', offset, value, plain: false, size: 1 }
  const name = 'name' in value ? value['name'] : undefined
  const found = typeof name === 'string' ? new RegExp(`['"\`]${name}['"\`]`).exec(text)?.index : undefined
  const own = found ?? offset
  const entries = Object.entries(value).map(
    ([key, item]) => [key, { keyOffset: own, value: treeAt(item, own, text) }] as const,
  )
  return {
    kind: 'map',
    offset: own,
    entries: new Map(entries),
    size: entries.reduce((sum, [, entry]) => sum + entry.value.size, 1),
  }
}

export function readSteadGraph(source: SourceFile, tree: Tree, inventory: Inventory): void {
  for (const [index, part] of itemsOf(at(tree, 'parts')).entries()) {
    const path: Path = ['parts', index]
    const kind = textOf(at(part, 'kind')) ?? ''
    const name = textOf(at(part, 'name')) ?? ''
    const subject: Subject = { platform: 'stead', kind, name, namespace: '', source, tree, path: [], documentStart: 0 }
    if (kind === 'service' || kind === 'job') inventory.workloads.push(readProgram(subject, part, path))
    else if (kind === 'resource') inventory.workloads.push(readResource(subject, part, path))
    else inventory.unknowns.push(subject)
  }
  const routes = itemsOf(at(tree, 'routes'))
  for (const [index, route] of routes.entries()) {
    const target = textOf(at(route, 'part')) ?? ''
    inventory.waysIn.push({
      platform: 'stead',
      kind: 'route',
      name: textOf(at(route, 'host')) ?? '',
      namespace: '',
      source,
      tree,
      path: [],
      documentStart: 0,
      exposure: 'public',
      selector: null,
      target,
      ports: [{ port: 443, target: null, path: ['routes', index] }],
    })
  }
}

function workload(
  subject: Subject,
  path: Path,
  rest: Pick<Workload, 'role' | 'replicas' | 'stateful' | 'dependsOn' | 'egress'>,
  container: Workload['pod']['containers'][number],
): Workload {
  return {
    ...subject,
    ...rest,
    podPath: path,
    restarts: true,
    replacedAtOnce: false,
    pod: {
      annotations: {},
      labels: {},
      security: noSecurity,
      sysctls: [],
      hostNetwork: false,
      hostPid: false,
      hostIpc: false,
      hostUsers: undefined,
      os: undefined,
      serviceAccount: null,
      automountToken: false,
      volumes: [],
      containers: [container],
      spread: 'none',
    },
  }
}

function readProgram(subject: Subject, part: Tree, path: Path): Workload {
  return workload(
    subject,
    path,
    {
      role: subject.kind === 'job' ? 'job' : 'service',
      replicas: numberOf(at(part, 'replicas')) ?? 1,
      stateful: false,
      dependsOn: itemsOf(at(part, 'uses')).map((use) => ({ name: textOf(at(use, 'part')) ?? '', healthy: true })),
      egress: textsOf(at(part, 'egress')),
    },
    {
      ...sandboxed(subject.name, path),
      environment: entriesOf(at(part, 'env')).map(([name, { value }]) => ({
        name,
        value: textOf(value) ?? null,
        path: [...path, 'env', name],
      })),
      command: textsOf(at(part, 'run')),
      readiness: textOf(at(part, 'ready', 'kind')) !== 'started',
    },
  )
}

function readResource(subject: Subject, part: Tree, path: Path): Workload {
  const type = textOf(at(part, 'type')) ?? ''
  return workload(
    { ...subject, kind: type },
    path,
    { role: 'service', replicas: 1, stateful: type !== 'secret', dependsOn: [], egress: [] },
    { ...sandboxed(subject.name, path), image: null, command: [type] },
  )
}

/** What every instance gets from the platform. */
function sandboxed(name: string, path: Path): Workload['pod']['containers'][number] {
  return {
    name,
    role: 'main',
    image: null,
    security: {
      ...noContainerSecurity,
      allowPrivilegeEscalation: false,
      capabilities: { add: [], drop: ['ALL'] },
      seccompType: 'Localhost',
      runAsNonRoot: true,
      readOnlyRootFilesystem: true,
    },
    ports: [],
    environment: [],
    mounts: [],
    command: [],
    limits: { memory: 'set', cpu: 'set' },
    requests: { memory: 'set', cpu: 'set' },
    readiness: true,
    liveness: true,
    probeHosts: [],
    path,
  }
}
