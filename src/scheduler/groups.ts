/**
 * Who runs where: for each group of tasks that some rule speaks of (an app, a part, a job, or all that hold the same
 * anti-affinity) how many of its tasks run on each node, in each rack and in each zone.
 *
 * Kept: the counts are those of the tasks that run, whatever came in between. Groups that no rule speaks of are not counted
 * at all; when a rule appears, its group is counted once from the running tasks.
 */
import { CountTable } from './count-table.ts'
import type { KindFilter } from './kinds.ts'
import type { Level } from './model.ts'
import { open, type Nodes } from './nodes.ts'
import type { Tasks } from './tasks.ts'

/** What of a job the groups need to know. */
export interface Member {
  /** Keys of the groups it belongs to. */
  readonly keys: readonly string[]
  /** Those of them that are counted. */
  readonly groups: Group[]
  /** Numbers of its running tasks, by position; -1: does not run. */
  readonly tasks: readonly number[]
}

/** A job that belongs to no group. */
export const nobody: Member = { keys: [], groups: [], tasks: [] }

export interface Group {
  readonly number: number
  readonly key: string
  /** Tasks by zone. Nodes and racks are counted only when a rule asks for them. */
  readonly zones: number[]
  byNode: boolean
  byRack: boolean
  total: number
  /** Rules that speak of it; counted while there are some, or tasks. */
  references: number
  readonly skews: Set<Skew>
}

export class Groups {
  readonly #nodes: Nodes
  readonly #tasks: Tasks
  readonly #onNode = new CountTable()
  readonly #inRack = new CountTable()
  readonly #byKey = new Map<string, Group>()
  readonly #members = new Map<string, Set<Member>>()
  readonly #unused: number[] = []
  #size = 0

  constructor(nodes: Nodes, tasks: Tasks) {
    this.#nodes = nodes
    this.#tasks = tasks
  }

  /** Calls back with the node of each running task of a job. */
  eachNode(member: Member, visit: (node: number) => void): void {
    for (const task of member.tasks) {
      const node = task < 0 ? -1 : (this.#tasks.node[task] ?? -1)
      if (node >= 0) visit(node)
    }
  }

  /** Makes a job known, before any of its tasks runs. */
  join(member: Member): void {
    for (const key of member.keys) {
      const members = this.#members.get(key)
      if (members === undefined) this.#members.set(key, new Set([member]))
      else members.add(member)
      const group = this.#byKey.get(key)
      if (group !== undefined) member.groups.push(group)
    }
  }

  /** Forgets a job of which nothing runs. */
  leave(member: Member): void {
    for (const key of member.keys) {
      const members = this.#members.get(key)
      members?.delete(member)
      if (members?.size === 0) this.#members.delete(key)
    }
  }

  membersOf(key: string): ReadonlySet<Member> {
    return this.#members.get(key) ?? new Set()
  }

  /** The group of a key, counted at this level from now on. Give it back with `release`. */
  track(key: string, level: Level): Group {
    let group = this.#byKey.get(key)
    const members = this.#members.get(key) ?? new Set()
    if (group === undefined) {
      const number = this.#unused.pop() ?? this.#size++
      const fresh: Group = {
        number,
        key,
        zones: [],
        byNode: false,
        byRack: false,
        total: 0,
        references: 0,
        skews: new Set(),
      }
      this.#byKey.set(key, fresh)
      for (const member of members) {
        member.groups.push(fresh)
        this.eachNode(member, (node) => this.#change(fresh, node, 1))
      }
      group = fresh
    }
    if (level === 'node' && !group.byNode) {
      group.byNode = true
      const { number } = group
      for (const member of members) this.eachNode(member, (node) => this.#onNode.add(number, node, 1))
    }
    if (level === 'rack' && !group.byRack) {
      group.byRack = true
      const { number } = group
      for (const member of members)
        this.eachNode(member, (node) => this.#inRack.add(number, this.#nodes.rack[node] ?? 0, 1))
    }
    group.references++
    return group
  }

  release(group: Group): void {
    group.references--
    this.#forgetUnused(group)
  }

  /** A task of the job comes to a node (1) or leaves it (-1). */
  move(member: Member, node: number, change: 1 | -1): void {
    // From the end, because a group that nobody needs any more leaves the list.
    for (let index = member.groups.length - 1; index >= 0; index--) {
      const group = member.groups[index]
      if (group !== undefined) this.#change(group, node, change)
    }
  }

  count(group: Group, level: Level, domain: number): number {
    if (level === 'node') return this.#onNode.get(group.number, domain)
    if (level === 'rack') return this.#inRack.get(group.number, domain)
    return group.zones[domain] ?? 0
  }

  #change(group: Group, node: number, change: 1 | -1): void {
    const zone = this.#nodes.zone[node] ?? 0
    const rack = this.#nodes.rack[node] ?? 0
    while (group.zones.length <= zone) group.zones.push(0)
    const inZone = (group.zones[zone] ?? 0) + change
    group.zones[zone] = inZone
    const onNode = group.byNode ? this.#onNode.add(group.number, node, change) : 0
    const inRack = group.byRack ? this.#inRack.add(group.number, rack, change) : 0
    group.total += change
    for (const skew of group.skews)
      if (skew.level === 'zone') skew.moved(this.#nodes, zone, inZone, change)
      else if (skew.level === 'rack') skew.moved(this.#nodes, rack, inRack, change)
      else skew.moved(this.#nodes, node, onNode, change)
    if (group.total === 0) this.#forgetUnused(group)
  }

  #forgetUnused(group: Group): void {
    if (group.references > 0 || group.total > 0) return
    this.#byKey.delete(group.key)
    for (const member of this.#members.get(group.key) ?? []) member.groups.splice(member.groups.indexOf(group), 1)
    this.#unused.push(group.number)
  }
}

/**
 * The rule that no domain has more than `skewMax` tasks above the emptiest one. Domains are those with a node that takes
 * tasks and that the job accepts. The least count is kept at hand: how many domains have each count.
 */
export class Skew {
  readonly group: Group
  readonly level: Level
  readonly skewMax: number
  readonly #groups: Groups
  readonly #filter: KindFilter
  #version = 0
  #domains: Set<number> = new Set()
  #histogram: number[] = []
  #least = 0

  constructor(groups: Groups, group: Group, filter: KindFilter, level: Level, skewMax: number) {
    this.#groups = groups
    this.group = group
    this.level = level
    this.skewMax = skewMax
    this.#filter = filter
    group.skews.add(this)
  }

  /** Whether one more may come to the domain. */
  allows(nodes: Nodes, domain: number): boolean {
    return this.#groups.count(this.group, this.level, domain) + 1 - this.least(nodes) <= this.skewMax
  }

  /** The count of the emptiest domain; 0 when there is no domain at all. */
  least(nodes: Nodes): number {
    if (this.#version !== nodes.version) this.#rebuild(nodes)
    return this.#least
  }

  /** A count has changed by one and is `count` now. */
  moved(nodes: Nodes, domain: number, count: number, change: 1 | -1): void {
    if (this.#version !== nodes.version || !this.#domains.has(domain)) return
    const histogram = this.#histogram
    histogram[count - change] = (histogram[count - change] ?? 0) - 1
    while (histogram.length <= count) histogram.push(0)
    histogram[count] = (histogram[count] ?? 0) + 1
    if (count < this.#least) this.#least = count
    else while (this.#least < histogram.length - 1 && histogram[this.#least] === 0) this.#least++
  }

  #rebuild(nodes: Nodes): void {
    this.#version = nodes.version
    const domains = new Set<number>()
    if (this.level === 'zone') {
      for (const kind of nodes.kinds.all)
        if (kind.nodes > 0 && nodes.kinds.accepts(this.#filter, kind.number)) domains.add(kind.zone)
    } else
      for (let node = 0; node < nodes.size; node++)
        if (nodes.state[node] === open && nodes.kinds.accepts(this.#filter, nodes.kind[node] ?? -1))
          domains.add(this.level === 'rack' ? (nodes.rack[node] ?? 0) : node)
    this.#domains = domains
    this.#histogram = []
    this.#least = Infinity
    for (const domain of domains) {
      const count = this.#groups.count(this.group, this.level, domain)
      while (this.#histogram.length <= count) this.#histogram.push(0)
      this.#histogram[count] = (this.#histogram[count] ?? 0) + 1
      this.#least = Math.min(this.#least, count)
    }
    if (domains.size === 0) this.#least = 0
  }
}
