/**
 * From records to what nodes and gateways are told: assignments with their edges, and the route table. Pure; equal records
 * give equal plans.
 */
import { assert } from '../base/index.ts'
import { type Graph, type Part, portOf, type ResourcePart, stateConfigOf, stateType, type Use } from '../model/index.ts'
import { edgeAddress, type Endpoint } from '../network/index.ts'
import type {
  Assignment,
  Edge,
  InstanceAssignment,
  ResourceAssignment,
  Route,
  RouteTarget,
  VersionedGrant,
} from '../protocol/index.ts'
import { validVersions } from '../secrets/index.ts'
import { adminName, type Credential, consumerName, credentialFor, otherUserOf, pinOf, userOf } from './credentials.ts'
import { hopsOf } from './hops.ts'
import type { KeptRelease } from './kept.ts'
import {
  type ControlState,
  type DesiredApp,
  type InstanceRecord,
  operatorConsumer,
  type PartIdentity,
  generationOf,
  isCurrent,
  isOver,
  noOrder,
  partKey,
  resourceId,
  resourcesOf,
  stateOf,
} from './state.ts'

/** How long requests wait at a gateway while a release is exchanged for another. */
export const holdMs = 15_000

/** What control must know of a resource type to wire it. */
export interface ResourceType {
  readonly type: string
  /** Port its consumers dial; null when nothing is dialled. */
  readonly port: number | null
  /** Whether each consumer has a credential of its own, or all share the resource's one value (a secret). */
  readonly credential: 'own' | 'shared'
}

/** The node that has an assignment; null when there is no such assignment. */
export function nodeOf(state: Pick<ControlState, 'instances' | 'apps'>, id: string): string | null {
  const instance = state.instances.get(id)
  if (instance !== undefined) return instance.node
  const [name = '', part] = id.split('.')
  const app = state.apps.get(name)
  const known = app !== undefined && resourcesOf(app).some(({ name: resource }) => resource === part)
  return app !== undefined && known && id === resourceId(name, part ?? '') ? app.home : null
}

/** The nodes that have something to run, or data. */
export function nodesIn(state: Pick<ControlState, 'instances' | 'apps'>): Set<string> {
  const homes = [...state.apps.values()].filter((app) => resourcesOf(app).length > 0).map((app) => app.home)
  return new Set([...homes, ...[...state.instances.values()].map((instance) => instance.node)])
}

/** What bundles are asked about: what runs, and what can be gone back to. */
export type BundleUsers = Pick<ControlState, 'instances' | 'apps'> & {
  readonly releases: ReadonlyMap<string, Pick<KeptRelease, 'app' | 'bundles'>>
}

/** Every bundle that the records name, also of apps that are down and of releases that can be gone back to. */
export function neededBundles({ apps, instances, releases }: BundleUsers): Set<string> {
  const named = [...apps.values(), ...releases.values()].flatMap(({ bundles }) => Object.values(bundles))
  return new Set([...named, ...[...instances.values()].map((instance) => instance.bundle)])
}

/** Whether a node runs something from a bundle: what it does not run it is not given. */
export function needsBundle({ apps, instances, releases }: BundleUsers, node: string, digest: string): boolean {
  return (
    [...instances.values()].some((instance) => instance.node === node && instance.bundle === digest) ||
    [...apps.values()].some((app) => app.home === node && Object.values(app.bundles).includes(digest)) ||
    // Where the data is, also the files of releases are tried that are not in force.
    [...releases.values()].some(
      ({ app, bundles }) => apps.get(app)?.home === node && Object.values(bundles).includes(digest),
    )
  )
}

/** Whether an endpoint on one node means anything on another: a process or a socket file never does. */
export function reaches(endpoint: Endpoint, node: string | null, from: string): boolean {
  const local = endpoint.kind !== 'tcp' || endpoint.host.startsWith('127.') || endpoint.host === '::1'
  return node === from || !local
}

/** Everything a node is to run, sorted by id. */
export function assignmentsOf(state: ControlState, node: string, types: readonly ResourceType[]): Assignment[] {
  const instances = [...state.instances.values()]
    .filter((instance) => instance.node === node)
    .map((instance) => instanceAssignment(state, instance, types))
  const resources = [...state.apps.values()].flatMap((app) =>
    resourcesOf(app)
      .filter(() => app.home === node)
      .map((part) => resourceAssignment(state, app, part, types)),
  )
  return [...instances, ...resources].toSorted((a, b) => (a.id < b.id ? -1 : 1))
}

function identityOf(state: ControlState, app: string, part: string): PartIdentity {
  const identity = state.identities.get(partKey(app, part))
  assert(identity !== undefined, `${app}/${part} has an identity`)
  return identity
}

/** The user on the disk of a resource. The data of a branch keeps that of where it comes from; state belongs to its service. */
function ownerOf(state: ControlState, app: DesiredApp, part: ResourcePart): number {
  const name = app.graph.app
  const owner = part.type === stateType ? (stateConfigOf(part.config)?.of ?? part.name) : part.name
  return (state.identities.get(partKey(app.branch?.app ?? name, owner)) ?? identityOf(state, name, owner)).hostUid
}

function instanceAssignment(
  state: ControlState,
  instance: InstanceRecord,
  types: readonly ResourceType[],
): InstanceAssignment {
  const { part, app } = instance
  const owner = state.apps.get(app)
  const kept = owner === undefined ? null : stateOf(owner.graph, part)
  return {
    kind: part.kind,
    id: instance.id,
    app,
    part: part.name,
    bundle: instance.bundle,
    run: part.run,
    ...(part.image === undefined ? {} : { image: part.image }),
    ...(part.kind === 'job' || part.vm === undefined ? {} : { vm: part.vm }),
    env: part.env,
    limits: part.limits,
    http: part.kind === 'service' ? portOf(part) : null,
    ready: part.kind === 'service' ? part.ready : { kind: 'started', timeoutMs: part.timeoutMs },
    hostUid:
      owner === undefined || kept === null ? identityOf(state, app, part.name).hostUid : ownerOf(state, owner, kept),
    edges: part.uses.flatMap((use) => edge(state, instance, use, types)),
    egress: part.egress,
    tripwire: part.tripwire,
    ...(part.isolation === undefined ? {} : { isolation: part.isolation }),
    wanted: instance.phase !== 'stopping',
    timeoutMs: part.kind === 'job' ? part.timeoutMs : null,
    ...(part.kind === 'job' ? { retry: part.retry } : {}),
    onSecretChange: part.kind === 'service' ? part.onSecretChange : 'restart',
    ...(instance.data === undefined ? {} : { generation: instance.data }),
  }
}

function edge(
  state: ControlState,
  { app, node, part: consumer, secrets }: InstanceRecord,
  use: Use,
  types: readonly ResourceType[],
): Edge[] {
  const owner = state.apps.get(app)
  const parts = [...(owner?.graph.parts ?? []), ...(owner?.stage?.beside?.graph.parts ?? [])]
  const target = parts.find((part) => part.name === use.part)
  const identity = state.identities.get(partKey(app, use.part))
  // The part may be gone from the graph while an old instance that used it is still being drained.
  if (target === undefined || identity === undefined) return []
  const common = { as: use.as, part: use.part, address: edgeAddress(identity.edge) }
  if (target.kind === 'resource') {
    const id = resourceId(app, target.name)
    const status = state.statuses.get(id)
    const endpoint = status?.phase === 'ready' ? status.endpoint : null
    return [
      {
        ...common,
        type: target.type,
        config: target.config,
        resource: id,
        port: types.find((type) => type.type === target.type)?.port ?? 0,
        grant: grantOf(
          credentialFor(state.credentials, app, target.name, consumer.name),
          consumer.name,
          pinOf(secrets, target.name),
          use.rights,
        ),
        targets: endpoint !== null && reaches(endpoint, nodeOf(state, id), node) ? [{ id, endpoint }] : [],
      },
    ]
  }
  const port = target.kind === 'service' ? edgePort(portOf(target) ?? 0, servedPort(consumer)) : 0
  return [
    {
      ...common,
      type: 'service',
      config: target.kind === 'service' && target.tcp !== undefined ? { scheme: 'tcp' } : null,
      resource: null,
      port,
      grant: null,
      targets: targetsOf(state, app, target.name)
        .filter(({ instance, endpoint }) => reaches(endpoint, nodeOf(state, instance), node))
        .map(({ instance, endpoint }) => ({ id: instance, endpoint })),
    },
  ]
}

/** The port that an instance itself serves on; 0 when it serves nothing. */
function servedPort(part: Part): number {
  if (part.kind !== 'service') return 0
  return portOf(part) ?? (part.ready.kind === 'tcp' ? part.ready.port : 0)
}

/**
 * The port of an edge to a service: the service's own, unless the consumer serves on the same one. A program that listens
 * on all addresses would find it taken by its edge.
 */
function edgePort(wanted: number, own: number): number {
  if (wanted !== own) return wanted
  return own === 80 ? 8080 : 80
}

/**
 * The ready, active instances of a service. Those on nodes that are away count only when there are no others: perhaps it
 * is only control that cannot reach them. So do those that somebody's debugger has stopped: they would answer late, not never.
 */
export function targetsOf(state: ControlState, app: string, part: string): RouteTarget[] {
  const ready = [...state.instances.values()]
    .filter((instance) => instance.app === app && instance.part.name === part && instance.phase === 'active')
    .flatMap(({ id, node, part: own }) => {
      const status = state.statuses.get(id)
      if (status?.phase !== 'ready' || status.endpoint === null) return []
      // By the instance, not by the app: the one that is being replaced may speak something else.
      const protocol = own.kind === 'service' && own.protocol !== undefined ? { protocol: own.protocol } : {}
      return [{ node, target: { instance: id, endpoint: status.endpoint, ...protocol } }]
    })
    .toSorted((a, b) => (a.target.instance < b.target.instance ? -1 : 1))
  const near = ready.filter(({ node }) => state.nodes.get(node)?.connected === true)
  const there = near.length > 0 ? near : ready
  const free = there.filter(({ target }) => !isDrained(state, target.instance))
  return (free.length > 0 ? free : there).map(({ target }) => target)
}

/** Whether it stands at a breakpoint of somebody who wants no requests to wait for him meanwhile. */
function isDrained(state: ControlState, instance: string): boolean {
  const { debuggers = [] } = state.statuses.get(instance) ?? {}
  return debuggers.some(({ stands, traffic }) => stands && traffic === 'drain')
}

/** What serves behind a way in now: the instances of a service, or a resource. */
export function servingNow(state: ControlState, { graph }: DesiredApp, part: string): RouteTarget[] {
  const resource = graph.parts.some((other) => other.kind === 'resource' && other.name === part)
  if (!resource) return targetsOf(state, graph.app, part)
  const id = resourceId(graph.app, part)
  const status = state.statuses.get(id)
  return status?.phase === 'ready' && status.endpoint !== null ? [{ instance: id, endpoint: status.endpoint }] : []
}

function grantOf(
  credential: Credential | undefined,
  consumer: string,
  version: number,
  rights?: readonly string[],
): VersionedGrant | null {
  const password = credential?.values.get(version)
  if (password === undefined) return null
  const user = userOf(consumer, version)
  return { consumer, user, password, version, ...(rights === undefined ? {} : { rights }) }
}

function resourceAssignment(
  state: ControlState,
  app: DesiredApp,
  part: ResourcePart,
  types: readonly ResourceType[],
): ResourceAssignment {
  const name = app.graph.app
  const shared = types.find((candidate) => candidate.type === part.type)?.credential === 'shared'
  const operator = state.credentials.has(partKey(name, consumerName(part.name, operatorConsumer)))
  // The operator is let in once he has asked.
  const beside = app.stage?.beside ?? null
  const users = [app.graph, ...(beside === null ? [] : [beside.graph])].flatMap((graph) =>
    consumersOf(graph, part.name),
  )
  const consumers = [...new Set(users), ...(operator ? [operatorConsumer] : [])]
  const hosted = hostedBy(part)
  // Of what somebody else runs the platform knows the URL, and no more.
  // The data of a branch has the administrator of where it comes from.
  const origin = app.branch?.app ?? name
  const admin = state.credentials.get(partKey(hosted === null ? origin : name, hosted ?? adminName(part.name)))
  return {
    kind: 'resource',
    id: resourceId(name, part.name),
    app: name,
    part: part.name,
    type: part.type,
    config: part.config,
    hostUid: ownerOf(state, app, part),
    adminPassword: admin?.values.get(admin.current) ?? '',
    ...(shared ? sharedGrants(state, name, part, consumers) : ownGrants(state, name, part, consumers)),
    ...filesOf(app, part),
    ...placeOf(state, app),
    ...(app.graph.dataBytes === undefined ? {} : { dataBytes: app.graph.dataBytes }),
    // A database stops after everything that uses it.
    wanted:
      app.wanted || [...state.instances.values()].some((instance) => instance.app === name && !isOver(state, instance)),
  }
}

/** The files of a resource, and how far they go. */
function filesOf(app: DesiredApp, { name }: ResourcePart): Pick<ResourceAssignment, 'bundle' | 'phase'> {
  const own = app.bundles[name] ?? app.stage?.beside?.bundles[name] ?? null
  if (app.schema?.parts.includes(name) !== true) return { bundle: own }
  const { bundles, phase } = app.schema
  return { bundle: bundles[name] ?? own, ...(phase === 'all' ? {} : { phase }) }
}

/** Where the data of an app is; nothing where it is where it has always been. */
function placeOf(state: ControlState, app: DesiredApp): Pick<ResourceAssignment, 'data'> {
  if (app.branch !== undefined) {
    const { app: origin, copy } = app.branch
    const generation = generationOf(state.apps.get(origin) ?? {})
    return { data: { app: origin, copy, generation, swap: null } }
  }
  const { generation, swap } = app.data ?? { generation: 1, swap: null }
  return generation === 1 ? {} : { data: { app: app.graph.app, copy: null, generation, swap } }
}

type Grants = Pick<ResourceAssignment, 'grants' | 'revoked'>

/** Who reads a shared value. The value itself goes to nobody but those who use it. */
function sharedGrants(state: ControlState, app: string, part: ResourcePart, consumers: readonly string[]): Grants {
  const version = state.credentials.get(partKey(app, part.name))?.current ?? 0
  const grants = consumers.map((consumer) => ({ consumer, user: consumer, password: '', version }))
  return { grants: version === 0 ? [] : grants, revoked: [] }
}

/** The logins that are valid, and those that were once: also of consumers that are gone from the app. */
function ownGrants(state: ControlState, app: string, part: ResourcePart, consumers: readonly string[]): Grants {
  const grants: VersionedGrant[] = []
  const revoked: string[] = []
  const prefix = partKey(app, consumerName(part.name, ''))
  for (const [key, credential] of state.credentials) {
    if (!key.startsWith(prefix)) continue
    const consumer = key.slice(prefix.length)
    const { rotation, current } = credential
    if (!consumers.includes(consumer)) {
      revoked.push(userOf(consumer, current), ...(current > 1 ? [otherUserOf(consumer, current)] : []))
      continue
    }
    const valid = validVersions(rotation, current)
    const rights = rightsIn(state, app, part.name, consumer)
    grants.push(...valid.flatMap((version) => grantOf(credential, consumer, version, rights) ?? []))
    if (valid.length === 1 && current > 1) revoked.push(otherUserOf(consumer, current))
  }
  return { grants, revoked: revoked.toSorted() }
}

/**
 * What a consumer may do: all that any of its uses says, those of instances that still run and of a release beside this
 * one among them; a program keeps what it was started with until it has ended. Undefined: everything.
 */
function rightsIn(state: ControlState, app: string, part: string, consumer: string): readonly string[] | undefined {
  const owner = state.apps.get(app)
  const declared = [...(owner?.graph.parts ?? []), ...(owner?.stage?.beside?.graph.parts ?? [])]
  const running = [...state.instances.values()].filter((one) => one.app === app && !isOver(state, one))
  const uses = [...declared, ...running.map((one) => one.part)].flatMap((user) =>
    user.kind !== 'resource' && user.name === consumer ? user.uses.filter((use) => use.part === part) : [],
  )
  if (uses.length === 0 || uses.some(({ rights }) => rights === undefined)) return undefined
  return [...new Set(uses.flatMap(({ rights = [] }) => rights))].toSorted()
}

/** The secret by which a resource is reached that somebody else runs; null for all others. */
export function hostedBy({ config }: Pick<ResourcePart, 'config'>): string | null {
  const named = typeof config === 'object' && config !== null && 'hosted' in config ? config.hosted : null
  return typeof named === 'string' ? named : null
}

/** Names of the parts that use a part, sorted. */
export function consumersOf(graph: Graph, part: string): string[] {
  return graph.parts
    .filter((other): other is Exclude<Part, ResourcePart> => other.kind !== 'resource')
    .filter((other) => other.uses.some((use) => use.part === part))
    .map((other) => other.name)
    .toSorted()
}

/** All ways in, with the instances that serve them now. */
export function routesOf(state: ControlState, types: readonly ResourceType[]): Route[] {
  const dialled = (type: string): boolean => types.some((known) => known.type === type && known.port !== null)
  return [...state.apps.values()]
    .filter((app) => app.wanted)
    .flatMap((app) =>
      app.graph.routes.map((route) => {
        const hold = app.stage?.hold === true
        const targets = hold ? [] : servingNow(state, app, route.part)
        return {
          id: `${app.graph.app}:${route.host}${route.path}`,
          host: route.host,
          path: route.path,
          app: app.graph.app,
          part: route.part,
          ...shared(state, app, route.part, targets),
          ...(hold ? { holdMs } : {}),
          hops: hopsOf(state, app, route.part, dialled),
          ...(route.plain === undefined ? {} : { plain: route.plain }),
          ...(route.hstsS === undefined ? {} : { hstsS: route.hstsS }),
          ...(targets.length > 0 ? {} : whyUnavailable(state, app.graph.app, route.part)),
        }
      }),
    )
}

/** The targets in groups, by release, while two of them share the requests. */
function shared(
  state: ControlState,
  app: DesiredApp,
  part: string,
  targets: readonly RouteTarget[],
): Pick<Route, 'targets' | 'groups'> {
  const own = app.graph.parts.find(({ name }) => name === part)
  const { beside = null, share = 100 } = app.stage ?? {}
  if (own === undefined || own.kind === 'resource' || app.stage === undefined || targets.length === 0)
    return { targets }
  const isNew = (id: string): boolean => {
    const instance = state.instances.get(id)
    const { generation } = state.orders.get(partKey(app.graph.app, part)) ?? noOrder
    return instance !== undefined && isCurrent(app, own, generation, instance)
  }
  const [young, old] = [groupName(app.release), groupName(beside?.release ?? app.release - 1)]
  const grouped = targets.map((target) => ({ ...target, group: isNew(target.instance) ? young : old }))
  const count = grouped.filter(({ group }) => group === young).length
  // Where nobody decides shares, every instance has the same.
  const weights = beside === null ? [count, grouped.length - count] : [share, 100 - share]
  const groups = [young, old].map((name, index) => ({ name, weight: weights[index] ?? 0 }))
  const present = groups.filter(({ name }) => grouped.some(({ group }) => group === name))
  const isAlone = present.length === 1
  return { targets: grouped, groups: present.map((group) => (isAlone ? { ...group, weight: 1 } : group)) }
}

/** The group of a release's instances at the gateways. */
export function groupName(release: number): string {
  return `release-${release}`
}

/** The ways in for one gateway: with the targets that mean something on its node, which has the gateway's name. */
export function routesFor(routes: readonly Route[], state: ControlState, gateway: string): Route[] {
  return routes.map((route) => {
    const targets = route.targets.filter(({ instance, endpoint }) =>
      reaches(endpoint, nodeOf(state, instance), gateway),
    )
    if (targets.length === route.targets.length) return route
    const unavailable = `${route.part} runs on other nodes, which do not say how to reach them.`
    return { ...route, targets, ...(targets.length > 0 ? {} : { unavailable }) }
  })
}

/** Why nothing answers: whether that passes by itself, or a sentence. */
function whyUnavailable(state: ControlState, app: string, part: string): Pick<Route, 'phase' | 'unavailable'> {
  const order = state.orders.get(partKey(app, part))?.stopped ?? null
  if (order !== null) return { unavailable: `${part} was stopped by ${order.by}.` }
  const instances = [...state.instances.values()].filter(
    (instance) => instance.app === app && instance.part.name === part,
  )
  const statuses = instances.flatMap((instance) => state.statuses.get(instance.id) ?? [])
  if (statuses.some((status) => status.phase === 'gave-up'))
    return { unavailable: `${part} failed too often and is not started again until something changes.` }
  if (statuses.some((status) => status.phase === 'backing-off' || status.phase === 'unready'))
    return { unavailable: `${part} is failing.` }
  return { phase: instances.some((instance) => instance.phase !== 'active') ? 'deploying' : 'starting' }
}
