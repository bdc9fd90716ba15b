/**
 * What a page is told about an app's releases: all of them once, then what changes, with the same limits as `feed`. Invariant:
 * nothing is queued for a page that does not read.
 */
import { type Clock, isSteadError } from '../base/index.ts'
import type { Caller, Operations, ReleasesStatus } from '../operator/index.ts'
import { News } from './news.ts'
import type { Observer } from './observer.ts'
import { newsOf, ReleaseViews } from './release-view.ts'
import type { ReleasesMessage, ReleasesNews, ReleaseView } from './release-wire.ts'
import { beatMs } from './wire.ts'

export interface ReleaseFeedOptions {
  readonly observer: Observer
  readonly operations: Operations
  readonly clock: Clock
  readonly caller: Caller
  readonly app: string
  readonly signal: AbortSignal
}

/** Yields until the signal aborts. */
export async function* releaseFeed(options: ReleaseFeedOptions): AsyncIterable<ReleasesMessage> {
  const { observer, operations, clock, caller, app, signal } = options
  const news = new News(clock, signal)
  using _listening = observer.onChange(() => news.changed())
  const views = new ReleaseViews()
  let told: ReadonlyMap<number, ReleaseView> = new Map()
  let last: string | null = null
  const look = (): ReleasesMessage | null => {
    const status = caller.may('read', app) ? statusOf(operations, app) : null
    if (status === null) {
      told = new Map()
      return last === 'no-app' ? null : { type: 'no-app' }
    }
    const now = views.of(status)
    const message = newsOf(status, told, now, observer.nowMs())
    told = new Map(now.map((view) => [view.number, view]))
    return restOf(message) === last && message.put.length + message.drop.length === 0 ? null : message
  }
  while (!signal.aborted) {
    const message = look()
    if (message !== null) {
      last = message.type === 'releases' ? restOf(message) : message.type
      news.said()
      yield message
    } else if (news.silentMs() >= beatMs) {
      news.said()
      yield { type: 'beat', nowMs: observer.nowMs() }
    }
    await news.next()
  }
}

function statusOf({ releases }: Operations, app: string): ReleasesStatus | null {
  try {
    return releases.list(app)
  } catch (error) {
    if (isSteadError(error)) return null
    throw error
  }
}

/** All but the releases, and but the time, as it is told. */
function restOf({ live, generation, checkpoints, branches, counted }: ReleasesNews): string {
  return JSON.stringify({ live, generation, checkpoints, branches, counted })
}
