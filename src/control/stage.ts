/**
 * From the shape of a rollout's step to the app as it should be: the one record that assignments and routes follow from.
 * Pure. Invariant: the generation of the data changes here and nowhere else, and only forward.
 */
import { dataBytesDefault, type Graph } from '../model/index.ts'
import { cloneName, type Rollout, type Shape } from '../release/index.ts'
import type { KeptRelease } from './kept.ts'
import { completed, expanded, withSchema } from './schema.ts'
import type { DesiredApp, LiveData, SchemaState, Stage } from './state.ts'

/** The app in a step of a rollout. `young` is the release that it makes, `old` the one that served before. */
export function staged(
  app: DesiredApp,
  rollout: Rollout,
  shape: Shape,
  young: KeptRelease,
  old: KeptRelease | null,
): DesiredApp {
  const runsOld = shape.runs === 'old' || (shape.runs === 'none' && !shape.exchanged)
  const main = runsOld && old !== null ? old : young
  const { stage: _, data, ...rest } = app
  const exchanged = shape.exchanged ? swapOf(rollout) : null
  const inForce: DesiredApp = {
    ...rest,
    graph: rollout.outcome === null ? roomFor(main.graph, young.graph) : main.graph,
    bundles: main.bundles,
    release: main.number,
    ...(exchanged === null
      ? data === undefined
        ? {}
        : { data }
      : { data: { generation: young.generation, swap: exchanged } }),
    ...(rollout.outcome !== null ? {} : { stage: stageOf(shape, old) }),
  }
  return withSchema(inForce, schemaIn(rollout, shape, young))
}

/**
 * A graph with the room that the new release wants for the data, where that is more: it is there before the first copy is
 * made, because one that was declared for want of room could not be rolled out else.
 */
function roomFor(graph: Graph, young: Graph): Graph {
  const { dataBytes = dataBytesDefault } = young
  return dataBytes > (graph.dataBytes ?? dataBytesDefault) ? { ...graph, dataBytes } : graph
}

/** The exchange of the data that a return makes. */
function swapOf(rollout: Rollout): LiveData['swap'] {
  const keepAs = rollout.kind === 'return' ? rollout.branch : null
  return keepAs === null ? null : { from: cloneName(rollout.new), keepAs }
}

function stageOf(shape: Shape, old: KeptRelease | null): Stage {
  const beside = shape.runs === 'both' && old !== null ? old : null
  return {
    halted: shape.runs === 'none',
    hold: shape.hold,
    beside: beside === null ? null : { graph: beside.graph, bundles: beside.bundles, release: beside.number },
    share: shape.newShare,
  }
}

function schemaIn(rollout: Rollout, shape: Shape, young: KeptRelease): SchemaState {
  if (shape.exchanged && young.schemaTarget !== null) return young.schemaTarget
  // Code alone works on what is there.
  if (rollout.kind === 'return') return young.schemaBefore
  if (shape.schema === 'old') return young.schemaBefore
  return shape.schema === 'expanded'
    ? expanded(young.schemaBefore, young.bundles)
    : completed(young.schemaBefore, young.bundles)
}
