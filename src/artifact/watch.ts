/**
 * Says when a directory of code has changed. Events of the file system are only a hint to look; what counts is a look at
 * all names, sizes and times, which is also taken now and then without a hint, so that a lost event costs seconds and not
 * a change. What a bundle leaves out is not watched, nor is node_modules, which changes with the lock file.
 */
import { watch as watchFiles } from 'node:fs'
import type { FSWatcher, WatchListener } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import type { BundleLimits } from './bundle.ts'
import { digestOf } from './manifest.ts'
import { ignoreOf, scan } from './scan.ts'
import type { Scan } from './scan.ts'

/** Quiet time after the last event before looking; when it never gets quiet, this long after the first. */
const debounceMs = 100
const debounceMostMs = 1000
/** Looking without a hint: at most this often, and no more than a twentieth of the time. */
const rescanMs = 5000
const rescanShare = 20
/** Directories with events of their own; the rest is found by looking. */
const watchersMax = 2048

export interface WatchRequest {
  readonly from: string
  /** Called after each change, never twice at once for the same state. */
  readonly onChange: () => void
  /** Not watched, should it lie inside. */
  readonly storeRoot: string
  readonly clock: Clock
  readonly limits: BundleLimits
}

/** Watches until disposed. Nothing is thrown: a tree that cannot be read counts as changed, and making the bundle says why. */
export function watchDirectory({ from, onChange, storeRoot, clock, limits }: WatchRequest): Disposable {
  const watchers = new Map<string, FSWatcher>()
  let timer: Disposable | undefined
  let seen: string | undefined
  let looking = false
  let again = false
  let hintedMs: number | undefined
  let closed = false

  const lookAfter = (delayMs: number): void => {
    timer?.[Symbol.dispose]()
    if (!closed) timer = clock.after(delayMs, () => void look())
  }
  const hint = (): void => {
    if (looking) {
      again = true
      return
    }
    const nowMs = clock.monotonicMs()
    hintedMs ??= nowMs
    lookAfter(Math.max(0, Math.min(debounceMs, hintedMs + debounceMostMs - nowMs)))
  }
  const look = async (): Promise<void> => {
    looking = true
    hintedMs = undefined
    const startMs = clock.monotonicMs()
    const { state, directories } = await stateOf(from, storeRoot, limits)
    looking = false
    if (closed) return
    // What happened under a new watcher before it was there has to be looked for.
    if (watchAll(directories)) again = true
    const changed = seen !== undefined && seen !== state
    seen = state
    lookAfter(again ? debounceMs : Math.max(rescanMs, rescanShare * (clock.monotonicMs() - startMs)))
    again = false
    if (changed) onChange()
  }
  const unwatch = (isGone: (directory: string) => boolean): void => {
    for (const [directory, watcher] of watchers) {
      if (!isGone(directory)) continue
      watcher.close()
      watchers.delete(directory)
    }
  }
  const onEvent = (directory: string, event: string, name: string | null): void => {
    // What came or went may be a directory that is another one now, under which our watchers see nothing any more.
    const path = directory === '' ? `${name}` : `${directory}/${name}`
    if (event === 'rename') unwatch((watched) => watched === path || watched.startsWith(`${path}/`))
    hint()
  }
  /** True when a watcher was added. */
  const watchAll = (directories: readonly string[]): boolean => {
    const wanted = new Set(directories.slice(0, watchersMax))
    unwatch((directory) => !wanted.has(directory))
    const kept = watchers.size
    for (const directory of wanted) {
      if (watchers.has(directory)) continue
      const watcher = watchOne(join(from, directory), (event, name) => onEvent(directory, event, name), hint)
      if (watcher === null) break
      watchers.set(directory, watcher)
    }
    return watchers.size > kept
  }

  void look()
  return {
    [Symbol.dispose]() {
      closed = true
      timer?.[Symbol.dispose]()
      unwatch(() => true)
    },
  }
}

function watchOne(path: string, onEvent: WatchListener<string>, onError: () => void): FSWatcher | null {
  try {
    // An error of a watcher (its directory vanished) is a hint like any other.
    return watchFiles(path, { persistent: false }, onEvent).on('error', onError)
  } catch {
    // Out of watches: looking goes on without.
    return null
  }
}

async function stateOf(
  from: string,
  storeRoot: string,
  limits: BundleLimits,
): Promise<{ state: string; directories: Scan['directories'] }> {
  try {
    const source = await realpath(from)
    const ignore = await ignoreOf(source, storeRoot)
    const isModules = (path: string): boolean => path === 'node_modules' || path.endsWith('/node_modules')
    const found = await scan(source, (path, isDirectory) => isModules(path) || ignore(path, isDirectory), limits)
    const rows = found.entries.map((entry) => [entry.path, entry.kind === 'file' ? entry.stamp : entry.to])
    return { state: digestOf(JSON.stringify(rows)), directories: found.directories }
  } catch (error) {
    return { state: messageOf(error), directories: [] }
  }
}
