/**
 * Kinds of nodes: nodes that no selector, toleration, model or clock bound can tell apart share one number, so that these
 * are judged once for a kind and not once for a node. A kind is also a cell of the bucket index, as long as there are
 * few; where every node has labels of its own, the later kinds share one cell for each zone and are judged node by node.
 */
import type { JobFacts, NodeFacts } from './read.ts'
import type { Selector, Taint, Toleration } from './model.ts'

/** Kinds that get a cell of their own. */
const ownCellsMax = 256

/** Filters that are kept for jobs to come. */
const filtersMax = 1000

export interface NodeKind {
  readonly number: number
  readonly cell: number
  /** True when the cell holds other kinds too. */
  readonly shared: boolean
  readonly zone: number
  readonly labels: Readonly<Record<string, string>>
  readonly taints: readonly Taint[]
  readonly gpuModel: string
  readonly clockErrorNs: number
  readonly pricePerHour: number
  /** Nodes of this kind that take tasks. */
  nodes: number
}

/** What of a job can be judged by the kind of a node alone. Jobs that ask for the same share one. */
export interface KindFilter {
  readonly key: string
  readonly accepts: (kind: NodeKind) => boolean
  /** Answers by kind: 0 not asked yet, 1 yes, 2 no. */
  answers: Uint8Array
  /** Cells with an accepted kind, and for which state of the kinds that was worked out. */
  cells: Int32Array
  version: number
}

export class NodeKinds {
  readonly all: NodeKind[] = []
  /** The zone of each cell. */
  readonly zoneOfCell: number[] = []
  /** Grows when a kind appears, or gets its first or loses its last node. */
  version = 1
  readonly #byKey = new Map<string, NodeKind>()
  readonly #sharedCells = new Map<number, number>()
  readonly #filters = new Map<string, KindFilter>()

  /** The kind of a node. */
  of(facts: NodeFacts, zone: number): NodeKind {
    const labels = Object.entries(facts.labels)
    const taints = facts.taints.map(({ key, value, effect }) => [key, value, effect])
    const plain = labels.length === 0 && taints.length === 0
    const details = plain ? '' : JSON.stringify([labels.sort(([a], [b]) => (a < b ? -1 : 1)), taints])
    const key = `${zone} ${facts.gpuModel} ${facts.clockErrorNs} ${facts.pricePerHour} ${details}`
    const known = this.#byKey.get(key)
    if (known !== undefined) return known
    const shared = this.all.length >= ownCellsMax
    const kind: NodeKind = {
      number: this.all.length,
      cell: shared ? this.#sharedCell(zone) : this.#newCell(zone),
      shared,
      zone,
      labels: facts.labels,
      taints: facts.taints,
      gpuModel: facts.gpuModel,
      clockErrorNs: facts.clockErrorNs,
      pricePerHour: facts.pricePerHour,
      nodes: 0,
    }
    this.all.push(kind)
    this.#byKey.set(key, kind)
    return kind
  }

  /** A node of the kind begins (1) or ceases (-1) to take tasks. */
  count(kind: NodeKind, change: 1 | -1): void {
    kind.nodes += change
    if (kind.nodes === 0 || (change === 1 && kind.nodes === 1)) this.version++
  }

  /** The filter for a job. */
  filterOf(facts: JobFacts): KindFilter {
    const { spec, needs, clockErrorNsMax } = facts
    const plain =
      spec.selector === undefined &&
      spec.tolerations === undefined &&
      needs.gpuCount === 0 &&
      clockErrorNsMax === Infinity
    const gpus = needs.gpuCount > 0 ? (needs.gpuModels ?? 1) : 0
    const key = plain ? '' : JSON.stringify([spec.selector, spec.tolerations, gpus, clockErrorNsMax])
    let filter = this.#filters.get(key)
    if (filter === undefined) {
      filter = { key, accepts: acceptance(facts), answers: new Uint8Array(0), cells: new Int32Array(0), version: 0 }
      // Jobs keep theirs; what is forgotten here is only made again.
      if (this.#filters.size >= filtersMax) this.#filters.clear()
      this.#filters.set(key, filter)
    }
    return filter
  }

  /** Whether a filter lets a kind through. */
  accepts(filter: KindFilter, kind: number): boolean {
    const answer = filter.answers[kind] ?? 0
    if (answer !== 0) return answer === 1
    if (kind >= filter.answers.length) {
      const grown = new Uint8Array(this.all.length + 16)
      grown.set(filter.answers)
      filter.answers = grown
    }
    const asked = this.all[kind]
    const accepted = asked !== undefined && filter.accepts(asked)
    filter.answers[kind] = accepted ? 1 : 2
    return accepted
  }

  /** The cells in which a job may find a node, in the order of their numbers. */
  cellsOf(filter: KindFilter): Int32Array {
    if (filter.version !== this.version) {
      const cells = this.all
        .filter((kind) => kind.nodes > 0 && this.accepts(filter, kind.number))
        .map(({ cell }) => cell)
      filter.cells = Int32Array.from(new Set(cells)).sort()
      filter.version = this.version
    }
    return filter.cells
  }

  #sharedCell(zone: number): number {
    const known = this.#sharedCells.get(zone)
    if (known !== undefined) return known
    const cell = this.#newCell(zone)
    this.#sharedCells.set(zone, cell)
    return cell
  }

  #newCell(zone: number): number {
    return this.zoneOfCell.push(zone) - 1
  }
}

/** Whether labels meet a condition. */
export function selects(selector: Selector, labels: Readonly<Record<string, string>>): boolean {
  const value = Object.hasOwn(labels, selector.label) ? labels[selector.label] : undefined
  switch (selector.operator) {
    case 'in':
      return value !== undefined && selector.values.includes(value)
    case 'not-in':
      return value === undefined || !selector.values.includes(value)
    case 'exists':
      return value !== undefined
    case 'not-exists':
      return value === undefined
  }
}

/** What a condition asks of a node, as after "has". */
export function spokenSelector(selector: Selector): string {
  const { label, operator } = selector
  if (operator === 'in' || operator === 'not-in') {
    const values = selector.values.join(' or ')
    return operator === 'in' ? `label ${label}=${values}` : `a label ${label} other than ${values}, or none`
  }
  return operator === 'exists' ? `a label ${label}` : `no label ${label}`
}

/** Whether one of the tolerations covers a taint. */
export function tolerates(tolerations: readonly Toleration[], taint: Taint): boolean {
  return tolerations.some(
    ({ key, value, effect }) =>
      key === taint.key &&
      (value === undefined || value === taint.value) &&
      (effect === undefined || effect === taint.effect),
  )
}

function acceptance(facts: JobFacts): (kind: NodeKind) => boolean {
  const { selector = [], tolerations = [] } = facts.spec
  const { gpuCount, gpuModels } = facts.needs
  return (kind) =>
    selector.every((condition) => selects(condition, kind.labels)) &&
    kind.taints.every((taint) => tolerates(tolerations, taint)) &&
    (gpuCount === 0 || (kind.gpuModel !== '' && (gpuModels === null || gpuModels.includes(kind.gpuModel)))) &&
    kind.clockErrorNs <= facts.clockErrorNsMax
}
