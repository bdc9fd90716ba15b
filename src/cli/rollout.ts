/** Takes up changes while an app runs: watches the app file and the directories of its parts. */
import { existsSync, watch } from 'node:fs'
import { dirname, join } from 'node:path'
import { isSteadError, messageOf, SteadError } from '../base/index.ts'
import { describeDiff, diffGraphs } from '../model/index.ts'
import { bundleParts, type Built, readGraph, sourcesOf } from './bundling.ts'
import type { Machine } from './machine.ts'
import type { Platform } from './platform.ts'
import { followChange, showLastLines } from './starting.ts'
import { paint, type Steps } from './terminal.ts'

/** How long after a change the files must be quiet. */
const quietMs = 80

/** Bundles and rolls out again when the app file or a part's directory has changed. A mistake is told, and the app goes on as it was. */
export function watchForChanges(
  built: Built,
  appFile: string,
  machine: Machine,
  platform: Platform,
  steps: Steps,
  signal: AbortSignal,
): AsyncDisposable {
  let current = built
  let watchers: Disposable[] = []
  let timer: NodeJS.Timeout | null = null
  let work: Promise<void> = Promise.resolve()
  let follow = new AbortController()

  const changed = (): void => {
    if (timer !== null) clearTimeout(timer)
    timer = setTimeout(() => {
      work = work.then(rollOut)
    }, quietMs)
  }
  const rollOut = async (): Promise<void> => {
    if (signal.aborted) return
    const startMs = performance.now()
    try {
      const read = await readGraph(appFile, (text) => steps.say(text.trimEnd()))
      if (read.app !== current.graph.app) {
        throw new SteadError({
          code: 'cli.renamed',
          message: `the app is now called ${read.app}, it was ${current.graph.app}`,
          hint: 'Stop it and start it again to run it under the new name, with data of its own.',
        })
      }
      const { graph, bundles } = await bundleParts(machine.bundles, read, appFile, {
        onProgress: () => {},
        signal,
      })
      if (signal.aborted) return
      const parts = Object.keys(bundles).filter(
        (name) => current.bundles[name] !== undefined && bundles[name] !== current.bundles[name],
      )
      const lines = [...describeDiff(diffGraphs(current.graph, graph)), ...parts.map((name) => `${name}: code changed`)]
      if (lines.length === 0) return
      current = { graph, bundles }
      await platform.apply(current)
      rewatch()
      follow.abort()
      follow = new AbortController()
      void tell(current, lines.join('; '), startMs, follow.signal)
    } catch (error) {
      if (signal.aborted) return
      steps.say(`${paint('red', '✗', process.stderr)} not taken up: ${messageOf(error)}`)
      if (isSteadError(error) && error.hint !== undefined) steps.say(`  ${error.hint}`)
    }
  }
  /** Says how a change went, unless the next one has come. Beside the changes, so that a correction need not wait. */
  const tell = async (change: Built, what: string, startMs: number, newer: AbortSignal): Promise<void> => {
    const failed = await followChange(platform, change, AbortSignal.any([newer, signal]))
    if (newer.aborted || signal.aborted) return
    if (failed === null) return steps.done(`rolled out: ${what}`, performance.now() - startMs)
    steps.say(`${paint('red', '✗', process.stderr)} ${failed.part.name} gave up: ${failed.reason}`)
    await showLastLines(platform, change.graph.app, failed.part, steps)
    steps.say('  What ran before goes on; the next change is tried again.')
  }
  const rewatch = (): void => {
    for (const watcher of watchers.splice(0)) watcher[Symbol.dispose]()
    if (signal.aborted) return
    const directories = new Set([...sourcesOf(current.graph, appFile).values()].map(({ from }) => from))
    watchers = [
      watchFile(appFile, changed, (why) => steps.say(`changes of ${appFile} are not seen: ${why}`)),
      ...[...directories]
        .filter((directory) => existsSync(directory))
        .map((directory) => machine.bundles.watch(directory, changed)),
    ]
    // What changed before the watchers stood is found by looking once; nothing new ends the look.
    changed()
  }
  rewatch()
  return {
    async [Symbol.asyncDispose]() {
      if (timer !== null) clearTimeout(timer)
      for (const watcher of watchers) watcher[Symbol.dispose]()
      await work
    },
  }
}

/** Calls `onChange` when the file may have changed. A machine that cannot watch says so, and the app goes on. */
function watchFile(path: string, onChange: () => void, onTrouble: (why: string) => void): Disposable {
  try {
    const watcher = watch(dirname(path), { persistent: false }, (_event, name) => {
      if (name === null || join(dirname(path), name) === path) onChange()
    })
    watcher.on('error', (error) => onTrouble(error.message))
    return { [Symbol.dispose]: () => watcher.close() }
  } catch (error) {
    onTrouble(messageOf(error))
    return { [Symbol.dispose]: () => {} }
  }
}
