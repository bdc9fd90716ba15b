/**
 * What all readers fill and all rules read: workloads, networks, storage, identities, and the domains they fail in. One model
 * for every format, so a rule is written once.
 *
 * Conventions: null means that the input does not say, so that a rule answers "unknown" or takes the format's default; every
 * entry keeps its object's tree, so that a rule can point at the very field. Names are unique only within their kind.
 */
import type { Container, Pod } from './pod.ts'
import type { Place, Problem, SourceFile } from './source.ts'
import { offsetAt } from './tree.ts'
import type { Path, Tree } from './tree.ts'

export type Platform = 'kubernetes' | 'compose' | 'terraform' | 'cloudformation' | 'systemd' | 'stead' | 'npm'

/** The object of an input that something is said about. */
export interface Subject {
  readonly platform: Platform
  /** As the format calls it: `Deployment`, `aws_instance`, `service`. */
  readonly kind: string
  readonly name: string
  /** Kubernetes' namespace, `default` where none is given; '' elsewhere. */
  readonly namespace: string
  readonly source: SourceFile
  /** The object's tree, and the path to it from the root of its document. */
  readonly tree: Tree
  readonly path: Path
  /** Offset where its document starts: which of several documents of a file it is in. */
  readonly documentStart: number
}

export interface Workload extends Subject {
  readonly role: 'service' | 'job' | 'daemon'
  /** Instances asked for; null when something else decides. */
  readonly replicas: number | null
  /** Has storage of its own for each instance. */
  readonly stateful: boolean
  readonly pod: Pod
  /** From the object's root to the pod's specification. */
  readonly podPath: Path
  /** Names of other workloads it is told to wait for. */
  readonly dependsOn: readonly { readonly name: string; readonly healthy: boolean }[]
  /** Hosts it may dial: null for anything. */
  readonly egress: readonly string[] | null
  /** A new start after a crash; null when the format restarts by itself. */
  readonly restarts: boolean | null
  /** All instances are stopped before new ones start. */
  readonly replacedAtOnce: boolean
}

/** A way to workloads: a Kubernetes service, a published port, a route. */
export interface WayIn extends Subject {
  /** Who can come: the world, the node's network, or only the inside. */
  readonly exposure: 'public' | 'node' | 'inside'
  readonly selector: Readonly<Record<string, string>> | null
  /** Name of a workload where there is no selector. */
  readonly target: string | null
  readonly ports: readonly { readonly port: number; readonly target: number | string | null; readonly path: Path }[]
}

/** HTTP from outside, by host name. */
export interface Route extends Subject {
  readonly hosts: readonly string[]
  readonly services: readonly string[]
  /** Null when it is said elsewhere. */
  readonly tls: boolean | null
}

export interface NetworkPolicy extends Subject {
  /** Null when it chooses by more than equality: whom, is then unknown here. */
  readonly selector: Readonly<Record<string, string>> | null
  readonly ingress: boolean
  readonly egress: boolean
  /** Blocks of addresses it lets out to, with what it leaves out. */
  readonly egressBlocks: readonly { readonly cidr: string; readonly except: readonly string[]; readonly path: Path }[]
  /** A rule without a restriction: everything may pass. */
  readonly opensAllEgress: boolean
}

export interface Namespace extends Subject {
  readonly labels: Readonly<Record<string, string>>
}

/** A map of configuration values that stands in the input as text. */
export interface Config extends Subject {
  readonly secret: boolean
  readonly values: readonly { readonly key: string; readonly value: string; readonly path: Path }[]
}

/** What somebody may do: a rule of a role, a statement of a policy. */
export interface Grant extends Subject {
  readonly scope: 'cluster' | 'namespace' | 'cloud'
  readonly rules: readonly {
    readonly actions: readonly string[]
    /** With the API group before a slash where there is one. */
    readonly resources: readonly string[]
    readonly names: readonly string[]
    readonly principals: readonly string[]
    readonly path: Path
  }[]
}

export interface Binding extends Subject {
  readonly role: string
  readonly clusterWide: boolean
  readonly subjects: readonly {
    readonly kind: string
    readonly name: string
    readonly namespace: string
    readonly path: Path
  }[]
}

export interface Budget extends Subject {
  readonly selector: Readonly<Record<string, string>> | null
  readonly minAvailable: string | null
  readonly maxUnavailable: string | null
}

export interface Autoscaler extends Subject {
  readonly targetKind: string
  readonly target: string
  readonly minReplicas: number
}

/** A rule of a firewall or security group. */
export interface Opening extends Subject {
  /** Where the rule stands, from the root of its object. */
  readonly field: Path
  readonly direction: 'in' | 'out'
  readonly cidrs: readonly string[]
  /** 0 to 65535 for all. */
  readonly fromPort: number
  readonly toPort: number
  readonly protocol: string
}

/** A managed thing of a cloud. What its type does not have is null. */
export interface Resource extends Subject {
  readonly vendor: string
  readonly service: ResourceService
  readonly region: string | null
  /** Sure to be made: false for what a plan deletes or forgets. */
  readonly facts: ResourceFacts
}

export type ResourceService =
  | 'machine'
  | 'disk'
  | 'database'
  | 'bucket'
  | 'balancer'
  | 'gateway'
  | 'function'
  | 'queue'
  | 'identity'
  | 'network'
  | 'cluster'
  | 'other'

/** Three-valued: `undefined` is not set, so the default counts; null is known only after it was made. */
export interface ResourceFacts {
  readonly size?: string | null
  readonly encrypted?: boolean | null
  readonly public?: boolean | null
  readonly multiZone?: boolean | null
  readonly backups?: boolean | null
  readonly deletionProtection?: boolean | null
  readonly versioned?: boolean | null
  /** The metadata service asks for a session token. */
  readonly metadataTokens?: boolean | null
  readonly tls?: boolean | null
  readonly engine?: string | null
  readonly plainSecrets?: readonly Path[]
  /** Disks inside it, for the cost. */
  readonly disks?: readonly { readonly type: string; readonly sizeGb: number; readonly iops: number | null }[]
  readonly storageGb?: number | null
  readonly count?: number
}

export interface LockedPackage {
  readonly name: string
  readonly version: string
  readonly resolved: string | null
  readonly integrity: string | null
  /** Runs a program when it is installed. */
  readonly installScript: boolean
  readonly development: boolean
  /** Comes inside another, and shares its checksum. */
  readonly bundled: boolean
  readonly license: string | null
  readonly path: Path
}

export interface LockFile extends Subject {
  readonly packages: readonly LockedPackage[]
}

/** What asks for packages. */
export interface Manifest extends Subject {
  readonly dependencies: readonly { readonly name: string; readonly range: string }[]
}

export interface Inventory {
  readonly workloads: Workload[]
  readonly waysIn: WayIn[]
  readonly routes: Route[]
  readonly networkPolicies: NetworkPolicy[]
  readonly namespaces: Namespace[]
  readonly configs: Config[]
  readonly grants: Grant[]
  readonly bindings: Binding[]
  readonly budgets: Budget[]
  readonly autoscalers: Autoscaler[]
  readonly openings: Opening[]
  readonly resources: Resource[]
  readonly lockFiles: LockFile[]
  readonly manifests: Manifest[]
  /** Objects that were recognised and hold nothing that a rule reads. */
  readonly others: Subject[]
  /** Objects of a kind nobody here knows: what is said about them is "unknown". */
  readonly unknowns: Subject[]
  readonly problems: Problem[]
}

export function emptyInventory(): Inventory {
  return {
    workloads: [],
    waysIn: [],
    routes: [],
    networkPolicies: [],
    namespaces: [],
    configs: [],
    grants: [],
    bindings: [],
    budgets: [],
    autoscalers: [],
    openings: [],
    resources: [],
    lockFiles: [],
    manifests: [],
    others: [],
    unknowns: [],
    problems: [],
  }
}

/** Every object that was read, in no special order. */
export function subjectsOf(inventory: Inventory): readonly Subject[] {
  const { problems: _problems, ...lists } = inventory
  return Object.values(lists).flat()
}

/** Where a field of an object stands, or the nearest thing above it that is there. */
export function placeOf(subject: Subject, ...path: Path): Place {
  return { source: subject.source, offset: offsetAt(subject.tree, path) }
}

/** `Deployment shop/web`, `aws_instance web`. */
export function describeSubject(subject: Subject): string {
  const namespace = subject.namespace === '' || subject.namespace === 'default' ? '' : `${subject.namespace}/`
  return `${subject.kind} ${namespace}${subject.name}`
}

/** What runs all the time: without init and ephemeral containers. */
export function runningContainers(pod: Pod): readonly Container[] {
  return pod.containers.filter((container) => container.role === 'main' || container.role === 'sidecar')
}

/** Whether a selector chooses these labels. An empty one chooses everything. */
export function selects(selector: Readonly<Record<string, string>>, labels: Readonly<Record<string, string>>): boolean {
  return Object.entries(selector).every(([key, value]) => labels[key] === value)
}

/** Which ways in lead to which workloads, worked out once for an inventory that is complete. */
interface Links {
  readonly ways: ReadonlyMap<Workload, readonly WayIn[]>
  readonly workloads: ReadonlyMap<WayIn, readonly Workload[]>
}

const linksKnown = new WeakMap<Inventory, Links>()

/** The ways in that lead to a workload. */
export function waysTo(inventory: Inventory, workload: Workload): readonly WayIn[] {
  return linksOf(inventory).ways.get(workload) ?? []
}

/** The workloads that a way in leads to. */
export function reachedBy(inventory: Inventory, way: WayIn): readonly Workload[] {
  return linksOf(inventory).workloads.get(way) ?? []
}

function linksOf(inventory: Inventory): Links {
  const known = linksKnown.get(inventory)
  if (known !== undefined) return known
  const links = link(inventory)
  linksKnown.set(inventory, links)
  return links
}

function link(inventory: Inventory): Links {
  const labelled = (workload: Workload): readonly string[] =>
    Object.entries(workload.pod.labels).map(([key, value]) => placeKey(workload, `${key}=${value}`))
  const byLabel = new Map<string, Workload[]>()
  const byName = Map.groupBy(inventory.workloads, (workload) => placeKey(workload, workload.name))
  for (const workload of inventory.workloads) for (const key of labelled(workload)) addTo(byLabel, key, workload)
  const ways = new Map<Workload, WayIn[]>()
  const workloads = new Map<WayIn, Workload[]>()
  for (const way of inventory.waysIn) {
    const [first] = Object.entries(way.selector ?? {})
    const found =
      way.selector === null
        ? (byName.get(placeKey(way, way.target ?? '')) ?? []).filter(({ source }) => source === way.source)
        : first === undefined
          ? []
          : (byLabel.get(placeKey(way, `${first[0]}=${first[1]}`)) ?? []).filter(({ pod }) =>
              selects(way.selector ?? {}, pod.labels),
            )
    workloads.set(way, found)
    for (const workload of found) addTo(ways, workload, way)
  }
  return { ways, workloads }
}

function placeKey({ platform, namespace }: Subject, rest: string): string {
  return `${platform}\0${namespace}\0${rest}`
}

function addTo<Key, Value>(lists: Map<Key, Value[]>, key: Key, value: Value): void {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [value])
  else list.push(value)
}
