/** `stead deploy`: hands an app to the daemon of this machine, and follows it until it serves. */
import { realpathSync } from 'node:fs'
import { dirname } from 'node:path'
import { createBundleStore } from '../../artifact/index.ts'
import { SteadError, systemClock } from '../../base/index.ts'
import { findAppFile } from '../../evaluate/index.ts'
import { operatorClient } from '../../operator/index.ts'
import { bundleParts, readGraph } from '../bundling.ts'
import type { Command } from '../command.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { partFailure } from '../failure.ts'
import { followDeployment } from '../following.ts'
import { checkSpace, daemonHome, daemonSocket } from '../home.ts'
import { note, print, Steps } from '../terminal.ts'

export const deployCommand: Command = {
  name: 'deploy',
  usage: '[DIR]',
  summary: 'hand the app in DIR to stead serve',
  help: `  --json        one JSON object a line instead of text

  DIR is here when it is left out. What runs is replaced part by part, each when its successor serves.
  Exit code 1 when a part does not come up; what ran before goes on then.
  Example: stead deploy examples/shop`,
  options: {},
  argumentsMax: 1,
  run: (input) => deploy(input.arguments[0] ?? '.', input.json),
}

async function deploy(directory: string, json: boolean): Promise<ExitCode> {
  const appFile = await findAppFile(directory)
  const operator = await operatorClient(daemonSocket())
  if (operator === null) {
    throw new SteadError({
      code: 'cli.not-running',
      message: '`stead serve` does not run on this machine',
      hint: 'Start it with `stead serve`; or run the app for yourself with `stead up`.',
    })
  }
  const steps = new Steps(json)
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort(new Error('SIGINT')))
  const startMs = performance.now()
  const home = daemonHome()
  const graph = await steps.run('read the app file', () =>
    readGraph(appFile, note, { name: 'production', production: true }),
  )
  checkSpace(home)
  const bundles = await steps.run('bundle the parts', async (detail) => {
    const store = await createBundleStore({ root: home.bundlesDir, clock: systemClock })
    return bundleParts(store, graph, appFile, { onProgress: detail, signal: stop.signal })
  })
  const { release } = await steps.run('hand it over', async (detail) => {
    const answer = await operator.deploy({ graph, bundles, origin: realpathSync(dirname(appFile)) })
    detail(`release ${answer.release}`)
    return answer
  })
  const failed = await followDeployment(operator, graph, steps, stop.signal)
  if (failed !== null) throw partFailure(failed.part, failed.reason)
  const { urls } = await operator.status(graph.app)
  if (json) print(JSON.stringify({ app: graph.app, release, urls, tookMs: Math.round(performance.now() - startMs) }))
  else for (const url of urls) print(url)
  return exitCodes.ok
}
