/** `stead deploy`: hands an app to the daemon of this machine or of a server, and follows it until it serves. */
import { realpathSync } from 'node:fs'
import { dirname } from 'node:path'
import { createBundleStore } from '../../artifact/index.ts'
import { systemClock } from '../../base/index.ts'
import { findAppFile } from '../../evaluate/index.ts'
import { isServerAddress } from '../../remote/index.ts'
import { bundleParts, readGraph } from '../bundling.ts'
import { type Command, helpOf, usage } from '../command.ts'
import { handOver } from '../deployment.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { checkSpace, daemonHome } from '../home.ts'
import { deployToServer } from '../remote/remote-deploy.ts'
import { sendBundles } from '../remote/sending.ts'
import { needDaemon } from '../target.ts'
import { note, Steps } from '../terminal.ts'

export const deployCommand: Command = {
  name: 'deploy',
  usage: '[ssh://HOST] [DIR]',
  summary: 'hand the app in DIR to stead serve, here or on a server',
  help: `  --upgrade      bring an older Stead on the server to this version; its apps go on
  --no-packages  install no Debian packages there; what is weaker then is said
  --port N, --host ADDR   for stead serve, when it is started there for the first time
  --json         one JSON object a line instead of text

  DIR is here when it is left out. What runs is replaced part by part, each when its successor serves.
  A server is written ssh://HOST, ssh://USER@HOST:PORT, or a name of your SSH configuration: it is reached by your own
  ssh, with your keys. It needs nothing but root or sudo: Stead comes along, with its Node. What was sent is not sent again.
  Then: stead status ssh://HOST, and logs, graph, down, audit.
  Exit code 1 when a part does not come up; what ran before goes on then.
  Example: stead deploy ssh://root@shop.example.com examples/shop`,
  options: {
    upgrade: { type: 'boolean' },
    'no-packages': { type: 'boolean' },
    port: { type: 'string' },
    host: { type: 'string' },
  },
  argumentsMax: 2,
  run(input) {
    const port = input.number('port', 1, 65_535)
    const host = input.text('host')
    const [first = '.', second = null] = input.arguments
    if (!isServerAddress(first)) {
      if (second !== null) throw usage(`${first} is not a server: it is written ssh://HOST`, helpOf(deployCommand))
      return deployHere(first, input.json)
    }
    return deployToServer({
      server: first,
      directory: second ?? '.',
      json: input.json,
      upgrade: input.flag('upgrade'),
      packages: !input.flag('no-packages'),
      serveArguments: [...(port === null ? [] : ['--port', String(port)]), ...(host === null ? [] : ['--host', host])],
    })
  },
}

async function deployHere(directory: string, json: boolean): Promise<ExitCode> {
  const appFile = await findAppFile(directory)
  const operator = await needDaemon(null)
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
    const made = await bundleParts(store, graph, appFile, { onProgress: detail, signal: stop.signal })
    // Nothing, unless the daemon is another user's, with a store of its own.
    await sendBundles({ store, operator, app: graph.app, onProgress: () => {} }, Object.values(made))
    return made
  })
  const origin = realpathSync(dirname(appFile))
  await handOver({ operator, graph, bundles, origin, steps, signal: stop.signal, json, startMs })
  return exitCodes.ok
}
