/**
 * What one page is told: everything once, then what changes, no more often than every `intervalMs`. Invariants: nothing is
 * queued for a page that does not read (what it missed is part of the next change it takes); something is said every
 * `beatMs`, so that silence means a broken line.
 */
import type { Clock } from '../base/index.ts'
import { type Caller, offersTo } from '../operator/index.ts'
import { News } from './news.ts'
import type { Observer } from './observer.ts'
import { type AppCard, type AppState, beatMs, difference, type FeedMessage, type Sample } from './wire.ts'

export interface FeedOptions {
  readonly observer: Observer
  readonly clock: Clock
  readonly caller: Caller
  /** The app the page shows; null for the overview, which is the app itself where there is only one. */
  readonly app: string | null
  readonly signal: AbortSignal
}

/** Yields until the signal aborts. */
export async function* feed({ observer, clock, caller, app: asked, signal }: FeedOptions): AsyncIterable<FeedMessage> {
  const news = new News(clock, signal)
  using _listening = observer.onChange(() => news.changed())
  const { version, mode, weaker, drivers } = observer.platform()
  const seen = (): AppCard[] => observer.cards().filter(({ head }) => caller.may('read', head.app))
  const meant = (all: readonly AppCard[]): string | null =>
    asked ?? (all.length === 1 ? (all[0]?.head.app ?? null) : null)
  const offers = offersTo(caller, meant(seen()))
  const hello = { caller: caller.name, offers, platform: { version, mode, weaker, drivers } }
  yield { type: 'hello', nowMs: observer.nowMs(), hello }

  let cards: readonly AppCard[] | null = null
  let state: AppState | null = null
  let missing = false
  let lastSample: Sample | undefined
  while (!signal.aborted) {
    let said = false
    const nextCards = seen()
    if (cards === null || JSON.stringify(cards) !== JSON.stringify(nextCards)) {
      cards = nextCards
      said = true
      yield { type: 'apps', apps: cards }
    }
    const app = meant(cards)
    const next = app === null || !caller.may('read', app) ? null : observer.state(app)
    if (app !== null && next === null && (state !== null || !missing)) {
      said = true
      missing = true
      yield { type: 'no-app', app }
    } else if (app !== null && next !== null) {
      missing = false
      const samples = observer.samples(app)
      if (state === null) {
        said = true
        yield { type: 'app', state: next, samples }
      } else {
        const delta = difference(state, next)
        if (delta !== null) {
          said = true
          yield { type: 'delta', delta }
        }
        const sample = samples.at(-1)
        if (sample !== undefined && sample !== lastSample) {
          said = true
          yield { type: 'sample', sample }
        }
      }
      lastSample = samples.at(-1)
    }
    state = next
    if (!said && news.silentMs() >= beatMs) {
      said = true
      yield { type: 'beat', nowMs: observer.nowMs() }
    }
    if (said) news.said()
    await news.next()
  }
}
