/**
 * The line to the platform: takes what it is told and keeps what the page shows. Invariants: a line that breaks, or is
 * silent for too long, is said to be lost and opened again by itself; a page that nobody looks at holds none.
 */
import { type AppCard, type AppState, applied, beatMs, type FeedMessage, type Hello, type Sample } from '../wire.ts'
import { ask, linesOf, Refusal } from './session.ts'

/** What the page shows. */
export interface View {
  readonly line: 'opening' | 'live' | 'lost' | 'logged-out'
  readonly hello: Hello | null
  /** Null before the first answer. */
  readonly apps: readonly AppCard[] | null
  readonly app: AppState | null
  /** The app that was asked for and is not there. */
  readonly missing: string | null
  readonly samples: readonly Sample[]
  /** The platform's clock less this browser's. */
  readonly offsetMs: number
}

export const nothing: View = {
  line: 'opening',
  hello: null,
  apps: null,
  app: null,
  missing: null,
  samples: [],
  offsetMs: 0,
}

const samplesMax = 180
const pausesMs = [200, 500, 1000, 2000, 4000] as const
/** How long a page that is out of sight keeps its line. */
const hiddenMs = 20_000

/** Keeps the view of an app (null: of all of them) up to date until it is stopped. */
export function openLine(app: string | null, onView: (change: (view: View) => View) => void): () => void {
  const set = (change: Partial<View>): void => onView((view) => ({ ...view, ...change }))
  set({ app: null, missing: null, samples: [] })
  const query = app === null ? '' : `?${new URLSearchParams({ app }).toString()}`
  return keepOpen(`/api/feed${query}`, {
    heard: (message) => onView((view) => heard(view, message as FeedMessage)),
    lost: () => set({ line: 'lost' }),
    loggedOut: () => set({ line: 'logged-out' }),
  })
}

/** Who is told what comes over a line, and what becomes of it. */
export interface Listener {
  readonly heard: (message: unknown) => void
  /** It broke, and is opened again. */
  readonly lost: () => void
  /** The session is over, and so is the line. */
  readonly loggedOut: () => void
}

/** Keeps a line open until it is stopped. */
export function keepOpen(path: string, listener: Listener): () => void {
  const stop = new AbortController()
  const run = async (): Promise<void> => {
    for (let tries = 0; !stop.signal.aborted; tries += 1) {
      await visible(stop.signal)
      const current = new AbortController()
      const watchdog = new Watchdog(() => current.abort())
      const onHidden = hiddenFor(hiddenMs, () => current.abort())
      try {
        const signal = AbortSignal.any([stop.signal, current.signal])
        const answer = await ask('GET', path, undefined, signal)
        for await (const message of linesOf(answer)) {
          tries = 0
          watchdog.heard()
          listener.heard(message)
        }
      } catch (error) {
        if (error instanceof Refusal && error.status === 401) return listener.loggedOut()
      } finally {
        watchdog.stop()
        onHidden()
      }
      if (stop.signal.aborted) return
      if (!document.hidden) listener.lost()
      await pause(pausesMs[Math.min(tries, pausesMs.length - 1)] ?? 4000, stop.signal)
    }
  }
  void run()
  return () => stop.abort()
}

/** The view after a message. */
function heard(view: View, message: FeedMessage): View {
  switch (message.type) {
    case 'hello':
      return { ...view, line: 'live', hello: message.hello, offsetMs: message.nowMs - Date.now() }
    case 'apps':
      return { ...view, apps: message.apps }
    case 'app':
      return { ...view, app: message.state, missing: null, samples: message.samples }
    case 'delta':
      return view.app === null ? view : { ...view, app: applied(view.app, message.delta) }
    case 'sample':
      return { ...view, samples: [...view.samples, message.sample].slice(-samplesMax) }
    case 'no-app':
      return { ...view, app: null, missing: message.app }
    case 'beat':
      return { ...view, offsetMs: message.nowMs - Date.now() }
  }
}

/** Says when nothing was heard for too long. */
class Watchdog {
  readonly #onSilence: () => void
  #timer: number

  constructor(onSilence: () => void) {
    this.#onSilence = onSilence
    this.#timer = window.setTimeout(onSilence, 3 * beatMs)
  }

  heard(): void {
    clearTimeout(this.#timer)
    this.#timer = window.setTimeout(this.#onSilence, 3 * beatMs)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }
}

/** Calls `run` when the page has been out of sight for so long; answers how to stop that. */
function hiddenFor(forMs: number, run: () => void): () => void {
  let timer = 0
  const look = (): void => {
    clearTimeout(timer)
    if (document.hidden) timer = window.setTimeout(run, forMs)
  }
  document.addEventListener('visibilitychange', look)
  look()
  return () => {
    clearTimeout(timer)
    document.removeEventListener('visibilitychange', look)
  }
}

/** Resolves when the page can be seen. */
export function visible(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (document.hidden && !signal.aborted) return
      document.removeEventListener('visibilitychange', look)
      resolve()
    }
    document.addEventListener('visibilitychange', look)
    signal.addEventListener('abort', look, { once: true })
    look()
  })
}

/** Waits, but not longer than until the network is back or the page is looked at again. */
export function pause(forMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      clearTimeout(timer)
      window.removeEventListener('online', over)
      resolve()
    }
    const timer = window.setTimeout(over, forMs)
    window.addEventListener('online', over)
    signal.addEventListener('abort', over, { once: true })
  })
}
