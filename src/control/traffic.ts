/**
 * What the gateways have told of the requests that went through them, in memory only. Invariant: of each gateway the last
 * word counts, and of one that is gone none.
 */
import type { InstanceTraffic, RouteTraffic, Traffic, TrafficReport } from '../protocol/index.ts'

/** Requests over one edge of the graph. */
export interface EdgeTraffic extends Traffic {
  /** The part that asks; null: from outside, through the gateways. */
  readonly from: string | null
  readonly to: string
}

/** Requests to the instances of a group of one part, over all gateways. */
export interface GroupTraffic extends Traffic {
  readonly part: string
  readonly group: string
}

/** What goes through the gateways to an app. */
export interface AppTraffic {
  readonly edges: readonly EdgeTraffic[]
  readonly groups: readonly GroupTraffic[]
  readonly instances: readonly InstanceTraffic[]
}

interface Told {
  readonly routes: Map<string, RouteTraffic>
  readonly instances: Map<string, InstanceTraffic>
}

export class TrafficBook {
  readonly #gateways = new Map<string, Told>()

  /** Takes a report of a gateway. */
  receive(gateway: string, { full, routes, instances, gone }: TrafficReport): void {
    const known = full ? undefined : this.#gateways.get(gateway)
    const told = known ?? { routes: new Map(), instances: new Map() }
    for (const route of routes) told.routes.set(route.route, route)
    for (const instance of instances) told.instances.set(instance.instance, instance)
    for (const instance of gone) told.instances.delete(instance)
    this.#gateways.set(gateway, told)
  }

  /** The gateway is gone. */
  forget(gateway: string): void {
    this.#gateways.delete(gateway)
  }

  /** What goes to an app, each thing once, whatever the number of gateways. */
  of(app: string): AppTraffic {
    const all = [...this.#gateways.values()]
    const routes = all.flatMap((told) => [...told.routes.values()]).filter((route) => route.app === app)
    const instances = all.flatMap((told) => [...told.instances.values()]).filter((one) => one.app === app)
    return {
      edges: merged(routes, ({ part }) => part).map(([{ part }, traffic]) => ({ from: null, to: part, ...traffic })),
      groups: merged(
        routes.flatMap(({ part, groups }) =>
          Object.entries(groups).map(([group, traffic]) => ({ part, group, traffic })),
        ),
        ({ part, group }) => `${part} ${group}`,
      ).map(([{ part, group }, traffic]) => ({ part, group, ...traffic })),
      instances: merged(instances, ({ instance }) => instance).map(([first, traffic, same]) => ({
        ...first,
        traffic,
        inFlight: same.reduce((sum, { inFlight }) => sum + inFlight, 0),
        ejected: same.some(({ ejected }) => ejected),
      })),
    }
  }
}

/** Those with one key as one: the first of them, their traffic together, and all of them. */
function merged<T extends { readonly traffic: Traffic }>(
  all: readonly T[],
  keyOf: (one: T) => string,
): (readonly [T, Traffic, readonly T[]])[] {
  return [...Map.groupBy(all, keyOf).values()].flatMap((same) => {
    const [first] = same
    return first === undefined ? [] : [[first, together(same.map(({ traffic }) => traffic)), same] as const]
  })
}

/** Percentiles do not add: the median is that of the busiest way, the 99th percentile the worst of all. */
function together(all: readonly Traffic[]): Traffic {
  const sum = (of: (one: Traffic) => number): number => all.reduce((total, one) => total + of(one), 0)
  const busiest = all.toSorted((a, b) => b.requestsPerSecond - a.requestsPerSecond)[0]
  const slow = all.flatMap(({ p99Ms }) => p99Ms ?? [])
  return {
    requestsPerSecond: sum(({ requestsPerSecond }) => requestsPerSecond),
    errorsPerSecond: sum(({ errorsPerSecond }) => errorsPerSecond),
    requests: sum(({ requests }) => requests),
    errors: sum(({ errors }) => errors),
    p50Ms: busiest?.p50Ms ?? null,
    p99Ms: slow.length === 0 ? null : Math.max(...slow),
  }
}
