/** The parts of an app as the page speaks of them: instances put together, and how the whole is. Pure. */
import type { PartStatus } from '../../operator/index.ts'
import { type AppState, isWell, type ShapePart, type Uptime } from '../wire.ts'
import { phaseWord, type Tone, toneOf, uptimeShare } from './words.ts'

export interface PartView {
  readonly shape: ShapePart
  readonly instances: readonly PartStatus[]
  /** The state of the part: of its worst instance. */
  readonly tone: Tone
  readonly state: string
  readonly uptime: Uptime | null
  /** Parts that use it. */
  readonly usedBy: readonly string[]
  readonly memoryBytes: number | null
  /** What a resource tells at a glance; nothing of others. */
  readonly metrics: Readonly<Record<string, number>>
}

const rank: Readonly<Record<Tone, number>> = { idle: 0, good: 1, busy: 2, bad: 3 }

export function partViews(app: AppState): readonly PartView[] {
  const instances = Object.groupBy(Object.values(app.parts), ({ part }) => part)
  return app.shape.parts.map((shape) => {
    const own = instances[shape.name] ?? []
    const worst = own.toSorted((a, b) => rank[toneOf(b)] - rank[toneOf(a)])[0]
    const ready = own.filter(({ phase }) => phase === 'ready').length
    const memory = own.flatMap(({ memoryBytes }) => (memoryBytes === null ? [] : [memoryBytes]))
    return {
      shape,
      instances: own,
      tone: worst === undefined ? 'idle' : toneOf(worst),
      state:
        worst === undefined
          ? 'not there'
          : shape.replicas > 1
            ? `${ready} of ${shape.replicas} ready`
            : phaseWord(worst),
      uptime: app.uptime[shape.name] ?? null,
      usedBy: app.shape.parts.filter(({ uses }) => uses.includes(shape.name)).map(({ name }) => name),
      memoryBytes: memory.length === 0 ? null : memory.reduce((sum, value) => sum + value, 0),
      metrics: own[0]?.metrics ?? {},
    }
  })
}

/** How an app is as a whole: what is not well, and what comes up for the first time. */
export function stateOfApp(app: AppState): { readonly unwell: readonly string[]; readonly coming: readonly string[] } {
  if (!app.head.wanted) return { unwell: [], coming: [] }
  const other = Object.values(app.parts).filter((part) => !isWell(part))
  const isComing = ({ part, phase, kind }: PartStatus): boolean =>
    toneOf({ phase, kind }) === 'busy' && app.uptime[part] === undefined
  const unwell = new Set(other.filter((part) => !isComing(part)).map(({ part }) => part))
  return { unwell: [...unwell], coming: [...new Set(other.filter(isComing).map(({ part }) => part))] }
}

/** The least share of ready time among the parts that serve; null when none has been ready. */
export function leastUptime(app: AppState, nowMs: number): number | null {
  const shares = Object.values(app.uptime).map((uptime) => uptimeShare(uptime, nowMs))
  return shares.length === 0 ? null : Math.min(...shares)
}

/** What a part is, in a word. */
export function kindWord({ kind, type, schedule, disk }: ShapePart): string {
  if (kind === 'resource') return type ?? 'resource'
  if (kind === 'service') return disk === undefined ? 'service' : 'system'
  return schedule === null ? 'job, once' : 'job'
}
