/**
 * From one model to the next without a reload, pure: the commands for HAProxy's runtime. Invariant: after them no new
 * request goes to an instance that has left, and paths change in one step; what has left is only deleted when nothing is in
 * flight to it any more.
 */
import { renderMap, serverLine } from './config.ts'
import type { Backend, Model, Server } from './config.ts'

/** `backend/server`, as commands name it. */
export type ServerPath = `${string}/${string}`

export interface Changes {
  /** Before the paths are changed: what comes is there before what goes has left. */
  readonly come: readonly string[]
  readonly go: readonly string[]
  /** Servers that take nothing new any more, by the instance they are. */
  readonly left: readonly { readonly path: ServerPath; readonly instance: string }[]
  /** The paths that lead to routes differ: the map is to be replaced. */
  readonly map: boolean
}

function serversOf(backends: readonly Backend[]): Map<ServerPath, Server> {
  return new Map(
    backends.flatMap(({ name, servers }) => servers.map((server) => [`${name}/${server.name}` as const, server])),
  )
}

/** What is to be told to a worker that runs `before`. `parked`: servers of earlier changes that it still has. */
export function changesOf(before: Model, after: Model, parked: ReadonlySet<ServerPath>): Changes {
  const was = serversOf(before.backends)
  const is = serversOf(after.backends)
  const come: string[] = []
  for (const [path, server] of is) {
    const old = was.get(path)
    const settings = serverLine(server).slice(server.name.length + 1)
    const here = old !== undefined || parked.has(path)
    if (!here) come.push(`add server ${path} ${settings}`)
    if (here && old?.requestsMax !== server.requestsMax) come.push(`set maxconn server ${path} ${server.requestsMax}`)
    if (old === undefined || old.weight !== server.weight) come.push(`set server ${path} weight ${server.weight}`)
    if (old === undefined) come.push(`enable server ${path}`)
  }
  const left = [...was].filter(([path]) => !is.has(path)).map(([path, { instance }]) => ({ path, instance }))
  const go = left.map(({ path }) => `disable server ${path}`)
  return { come, go, left, map: renderMap(before) !== renderMap(after) }
}
