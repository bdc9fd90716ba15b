/** `stead deploy`: hands an app to the daemon of this machine or of a server, and follows it until it serves. */
import { realpathSync } from 'node:fs'
import { dirname } from 'node:path'
import { createBundleStore } from '../../artifact/index.ts'
import { systemClock } from '../../base/index.ts'
import { findAppFile } from '../../evaluate/index.ts'
import { isServerAddress } from '../../remote/index.ts'
import { bundleParts, readGraph } from '../bundling.ts'
import { parseDuration } from '../../model/index.ts'
import { strategies } from '../../release/index.ts'
import { type Command, helpOf, type Input, usage } from '../command.ts'
import { type DeployWish, handOver } from '../deployment.ts'
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
  help: `  --strategy S   rolling (usual): one instance after another; blue-green: all new beside all old, then every request at
                 once; canary: in growing shares of the requests, each judged against the old release at the same time
  --shares LIST  of a canary, such as 5,25,100
  --watch TIME   how long the new release is watched before it is confirmed (15s)
  --locks TIME   how long a migration may keep others from a table (2s); more is refused in the rehearsal
  --plan         only say what would change
  --upgrade      bring an older Stead on the server to this version; its apps go on
  --no-packages  install no Debian packages there; what is weaker then is said
  --port N, --host ADDR   for stead serve, when it is started there for the first time
  --json         one JSON object a line instead of text

  DIR is here when it is left out. It says what will change, tries migrations on a copy of the data, takes a checkpoint, and
  ends confirmed, or taken back by itself with the reason. \`stead rollback\` goes back later, with the data if need be.
  A server is written ssh://HOST, ssh://USER@HOST:PORT, or a name of your SSH configuration: it is reached by your own
  ssh, with your keys. It needs nothing but root or sudo: Stead comes along, with its Node. What was sent is not sent again.
  Then: stead status ssh://HOST, and logs, graph, down, audit.
  Exit code 1 when it was refused or taken back; what ran before goes on then.
  Example: stead deploy ssh://root@shop.example.com examples/shop`,
  options: {
    strategy: { type: 'string' },
    shares: { type: 'string' },
    watch: { type: 'string' },
    locks: { type: 'string' },
    plan: { type: 'boolean' },
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
    const wish = wishOf(input)
    if (!isServerAddress(first)) {
      if (second !== null) throw usage(`${first} is not a server: it is written ssh://HOST`, helpOf(deployCommand))
      return deployHere(first, input.json, wish)
    }
    return deployToServer({
      server: first,
      directory: second ?? '.',
      json: input.json,
      wish,
      upgrade: input.flag('upgrade'),
      packages: !input.flag('no-packages'),
      serveArguments: [...(port === null ? [] : ['--port', String(port)]), ...(host === null ? [] : ['--host', host])],
    })
  },
}

function wishOf(input: Input): DeployWish {
  const [strategy, shares, watch] = [input.text('strategy'), input.text('shares'), input.text('watch')]
  const known = strategies.find((one) => one === strategy)
  if (strategy !== null && known === undefined)
    throw usage(`there is no strategy ${strategy}`, `There are: ${strategies.join(', ')}.`)
  const watchMs = watch === null ? null : watch === '0' ? 0 : parseDuration(watch)
  if (watch !== null && watchMs === null) throw usage(`--watch ${watch} is no duration`, 'As in --watch 30s, or 5m.')
  const locks = input.text('locks')
  const lockMsMax = locks === null ? null : parseDuration(locks)
  if (locks !== null && lockMsMax === null) throw usage(`--locks ${locks} is no duration`, 'As in --locks 30s.')
  const numbers = shares?.split(',').map(Number)
  if (numbers !== undefined && known !== 'canary')
    throw usage('only a canary has shares', 'Add --strategy canary, or leave --shares out.')
  if (numbers?.some((share) => !(share > 0 && share <= 100)) === true)
    throw usage(`--shares ${shares ?? ''} are no shares`, 'Growing percentages, as in --shares 5,25,100.')
  return {
    planOnly: input.flag('plan'),
    rollout: {
      ...(known === undefined ? {} : { strategy: known }),
      ...(watchMs === null ? {} : { watchMs }),
      ...(lockMsMax === null ? {} : { lockMsMax }),
      ...(numbers === undefined ? {} : { shares: numbers }),
    },
  }
}

async function deployHere(directory: string, json: boolean, wish: DeployWish): Promise<ExitCode> {
  const appFile = await findAppFile(directory)
  const operator = await needDaemon(null)
  const steps = new Steps(json)
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort(new Error('SIGINT')))
  const startMs = performance.now()
  const home = daemonHome()
  const read = await steps.run('read the app file', () =>
    readGraph(appFile, note, { name: 'production', production: true }),
  )
  checkSpace(home)
  const { graph, bundles } = await steps.run('bundle the parts', async (detail) => {
    const store = await createBundleStore({ root: home.bundlesDir, clock: systemClock })
    const made = await bundleParts(store, read, appFile, { onProgress: detail, signal: stop.signal })
    // Nothing, unless the daemon is another user's, with a store of its own.
    await sendBundles({ store, operator, app: read.app, onProgress: () => {} }, Object.values(made.bundles))
    return made
  })
  const origin = realpathSync(dirname(appFile))
  await handOver({ operator, graph, bundles, origin, steps, signal: stop.signal, json, wish, startMs })
  return exitCodes.ok
}
