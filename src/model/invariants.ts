/**
 * What must hold between the parts of a graph, whoever made it: unique names, uses and routes that lead somewhere, no
 * cycle. Builders cannot make most of these mistakes; a graph that was edited or made elsewhere can.
 */
import { SteadError } from '../base/index.ts'
import { checkBackup } from './backup.ts'
import { entriesMax } from './graph.ts'
import type { Graph, Part, ServicePart } from './graph.ts'
import { showWay } from './routes.ts'
import { answersHttp, rightsOf } from './rights.ts'
import { scheduleProblem } from './schedule.ts'
import { checkState, stateType } from './state.ts'
import { describePart } from './values.ts'

function refuse(code: `model.${string}`, message: string, hint: string): never {
  throw new SteadError({ code, message, hint })
}

/** Names the parts that use each other in a circle, the first one again at the end; null when there are none. */
export function findCycle(parts: readonly Part[]): readonly string[] | null {
  const byName = new Map(parts.map((part) => [part.name, part]))
  const done = new Set<string>()
  const visit = (name: string, trail: readonly string[]): readonly string[] | null => {
    if (trail.includes(name)) return [...trail.slice(trail.indexOf(name)), name]
    const part = byName.get(name)
    if (done.has(name) || part === undefined || part.kind === 'resource') return null
    done.add(name)
    for (const use of part.uses) {
      const cycle = visit(use.part, [...trail, name])
      if (cycle !== null) return cycle
    }
    return null
  }
  for (const part of parts) {
    const cycle = visit(part.name, [])
    if (cycle !== null) return cycle
  }
  return null
}

/** The port a service serves on; null when it serves nothing. */
export function portOf({ http, tcp }: ServicePart): number | null {
  return http ?? tcp ?? null
}

function checkUses(part: Part, byName: ReadonlyMap<string, Part>): void {
  if (part.kind === 'resource') return
  const who = describePart(part)
  for (const { as, part: name, rights } of part.uses) {
    const target = byName.get(name)
    if (target === undefined)
      refuse('model.bad-use', `${who} uses '${name}' as '${as}', and no part has that name.`, 'Add it to the parts.')
    if (rights !== undefined) checkRights(`${who} uses ${describePart(target)} as '${as}'`, target, rights)
    if (target.kind === 'resource' || (target.kind === 'service' && portOf(target) !== null)) continue
    const hint = 'A part can use resources, and services with `http` or `tcp`.'
    refuse('model.bad-use', `${who} cannot use ${describePart(target)} as '${as}'.`, hint)
  }
}

function checkRights(who: string, target: Part, rights: readonly string[]): void {
  const offered = target.kind === 'resource' ? rightsOf(target.type) : []
  const unknown = rights.find((right) => !offered.includes(right))
  if (unknown === undefined && rights.length > 0) return
  const what = unknown === undefined ? 'with no right at all' : `with the right '${unknown}'`
  const hint =
    offered.length === 0 ? 'It has no rights to choose from: leave them out.' : `It has: ${offered.join(', ')}.`
  refuse('model.bad-use', `${who} ${what}.`, hint)
}

function checkVm(part: Part, byName: ReadonlyMap<string, Part>): void {
  if (part.kind !== 'service' || part.vm === undefined) return
  const keeps = part.uses.some((use) => {
    const used = byName.get(use.part)
    return used?.kind === 'resource' && used.type === stateType
  })
  const isWhole = part.run.length === 0 && part.image === undefined && part.isolation === 'kernel' && keeps
  if (isWhole) return
  const hint = 'A system has no program beside it, a kernel of its own, and state for its disk: declare it with `vm`.'
  refuse('model.bad-vm', `${describePart(part)} is a system on a disk, and something of that is missing.`, hint)
}

function checkSchedule(part: Part): void {
  if (part.kind !== 'job' || part.schedule === null) return
  const problem = scheduleProblem(part.schedule, part.timeZone)
  if (problem === null) return
  const hint = 'Minute, hour, day of month, month, day of week.'
  refuse('model.bad-schedule', `${describePart(part)}: schedule '${part.schedule}' ${problem}.`, hint)
}

function checkRoutes(graph: Graph, byName: ReadonlyMap<string, Part>): void {
  const taken = new Map<string, string>()
  for (const { host, path, part: name } of graph.routes) {
    const way = `${host}${path}`
    const other = taken.get(way)
    if (other !== undefined) {
      refuse(
        'model.route-conflict',
        `The route ${way} leads to '${other}' and to '${name}'.`,
        'Upper case and a slash at the end make no difference. Keep one of them.',
      )
    }
    taken.set(way, name)
    const target = byName.get(name)
    if (target?.kind === 'service' && target.http !== null) continue
    if (target?.kind === 'resource' && answersHttp(target.type) && path === '/') continue
    const what = target === undefined ? `'${name}', and no part has that name` : describePart(target)
    const hint = 'A route leads to a service with `http`; one without a path also to a bucket.'
    refuse('model.bad-public', `The route ${way} leads to ${what}.`, hint)
  }
}

function checkStreams({ streams = [] }: Graph, byName: ReadonlyMap<string, Part>): void {
  const taken = new Map<string, string>()
  for (const { way, part: name } of streams) {
    const key = showWay(way)
    const other = taken.get(key)
    if (other !== undefined) {
      refuse('model.route-conflict', `The way in ${key} leads to '${other}' and to '${name}'.`, 'Keep one of them.')
    }
    taken.set(key, name)
    const target = byName.get(name)
    if (target?.kind === 'service' && target.tcp !== undefined) continue
    if (target?.kind === 'resource' && way.kind === 'tcp') continue
    const what = target === undefined ? `'${name}', and no part has that name` : describePart(target)
    const hint = 'It leads to a service with `tcp`; a port also to a resource.'
    refuse('model.bad-public', `The way in ${key} leads to ${what}.`, hint)
  }
}

/** Throws `model.duplicate-name`, `model.bad-use`, `model.bad-public`, `model.route-conflict`, `model.cycle`, `model.bad-schedule`, `model.bad-state`, `model.bad-backup`, `model.too-large`. */
export function checkGraph(graph: Graph): void {
  for (const [what, count] of Object.entries({
    parts: graph.parts.length,
    routes: graph.routes.length + (graph.streams?.length ?? 0),
  })) {
    if (count <= entriesMax) continue
    refuse('model.too-large', `App '${graph.app}' has ${count} ${what}; ${entriesMax} is the most.`, 'Split the app.')
  }
  const byName = new Map<string, Part>()
  for (const part of graph.parts) {
    const other = byName.get(part.name)
    if (other !== undefined) {
      const both = `${describePart(other)} and ${describePart(part)}`
      refuse('model.duplicate-name', `Two parts have the same name: ${both}.`, 'Rename one.')
    }
    byName.set(part.name, part)
  }
  for (const part of graph.parts) {
    checkUses(part, byName)
    checkVm(part, byName)
    checkSchedule(part)
    if (part.kind === 'resource') checkState(part, graph.parts)
  }
  checkRoutes(graph, byName)
  checkStreams(graph, byName)
  checkBackup(graph)
  const cycle = findCycle(graph.parts)
  if (cycle === null) return
  const hint = 'Let one of them reach the other later, for example through a queue: start order needs a beginning.'
  refuse('model.cycle', `Parts use each other in a circle: ${cycle.join(' -> ')}.`, hint)
}
