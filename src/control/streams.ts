/** The ways in for connections that are carried as they are: from records to what gateways are told. Pure. */
import type { StreamRoute } from '../protocol/index.ts'
import { showWay } from '../model/index.ts'
import { nodeOf, reaches, servingNow } from './derive.ts'
import type { ControlState } from './state.ts'

/** All of them, with the instances or the resource that serve them now. */
export function streamsOf(state: ControlState): StreamRoute[] {
  return [...state.apps.values()]
    .filter((app) => app.wanted)
    .flatMap((app) =>
      (app.graph.streams ?? []).map(({ way, part }) => ({
        id: `${app.graph.app}:${showWay(way)}`,
        way,
        app: app.graph.app,
        part,
        targets: servingNow(state, app, part),
      })),
    )
}

/** Those for one gateway: with the targets that mean something on its node, which has the gateway's name. */
export function streamsFor(streams: readonly StreamRoute[], state: ControlState, gateway: string): StreamRoute[] {
  return streams.map((stream) => ({
    ...stream,
    targets: stream.targets.filter(({ instance, endpoint }) => reaches(endpoint, nodeOf(state, instance), gateway)),
  }))
}
