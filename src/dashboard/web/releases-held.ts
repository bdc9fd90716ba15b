/** Where the page of releases has what it shows from: a line of its own, and the node with the data. */
import { useEffect, useState } from 'preact/hooks'
import type { DataState } from '../../protocol/index.ts'
import type { ReleasesMessage } from '../release-wire.ts'
import { type Held, heardOf } from './held.ts'
import { keepOpen } from './line.ts'
import { ask } from './session.ts'

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
