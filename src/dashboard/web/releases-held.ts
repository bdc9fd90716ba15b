/** What the page of releases has been told. Pure, but for the line that it is kept up to date over. */
import { useEffect, useState } from 'preact/hooks'
import type { DataState } from '../../protocol/index.ts'
import type { ReleasesMessage, ReleasesNews, ReleaseView } from '../release-wire.ts'
import { keepOpen } from './line.ts'
import { ask } from './session.ts'

export interface Held extends Pick<ReleasesNews, 'live' | 'generation' | 'checkpoints' | 'branches' | 'counted'> {
  /** Newest first. */
  readonly releases: readonly ReleaseView[]
}

/** What is held after a message; null: the app is not there, or nothing was heard. */
export function heardOf(held: Held | null, message: ReleasesMessage): Held | null {
  if (message.type === 'beat') return held
  if (message.type === 'no-app') return null
  const { live, generation, checkpoints, branches, counted, put, drop } = message
  const gone = new Set([...drop, ...put.map(({ number }) => number)])
  const kept = (held?.releases ?? []).filter(({ number }) => !gone.has(number))
  const releases = [...kept, ...put].toSorted((a, b) => b.number - a.number)
  return { live, generation, checkpoints, branches, counted, releases }
}

/** Everything about an app's releases, now and after every change; null before the first answer. */
export function useReleases(app: string): Held | null {
  const [held, setHeld] = useState<Held | null>(null)
  useEffect(() => {
    let fresh = true
    return keepOpen(`/api/releases?${new URLSearchParams({ app }).toString()}`, {
      heard: (message) => {
        const begins = fresh
        fresh = false
        // A line that was opened again begins with everything.
        setHeld((before) => heardOf(begins ? null : before, message as ReleasesMessage))
      },
      lost: () => (fresh = true),
      loggedOut: () => {},
    })
  }, [app])
  return held
}

/** The copies of an app's data as the node has them, asked for again whenever `key` changes; null where it does not answer. */
export function useData(app: string, isOffered: boolean, key: string): DataState | null {
  const [data, setData] = useState<DataState | null>(null)
  useEffect(() => {
    if (!isOffered) return
    const stop = new AbortController()
    ask('GET', `/api/v1/apps/${encodeURIComponent(app)}/data`, undefined, stop.signal)
      .then((answer) => answer.json())
      .then(
        (state) => setData(state as DataState),
        () => {},
      )
    return () => stop.abort()
  }, [app, isOffered, key])
  return data
}
