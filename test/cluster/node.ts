/**
 * One process of a test cluster: an agent, or control. Its configuration is the first argument, as JSON. Commands come as
 * JSON lines on stdin and are answered under their id on stdout, between lines of what else there is to say.
 */
import { request } from 'node:http'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { startAgent } from '../../src/agent/index.ts'
import { createBundleStore } from '../../src/artifact/index.ts'
import { isSteadError, messageOf, sleep, systemClock as clock, systemRandom as random } from '../../src/base/index.ts'
import { programOf } from '../../src/cli/machine.ts'
import { type Control, startControl } from '../../src/control/index.ts'
import { copyDriver } from '../../src/domain/index.ts'
import { parseGraph } from '../../src/model/index.ts'
import { chooseNetworkDriver } from '../../src/network/index.ts'
import { type Downward, type Upward, upwardSchema } from '../../src/protocol/index.ts'
import { bubblewrapDriver, detectLimitGroups, processDriver, type SandboxDriver } from '../../src/sandbox/index.ts'
import { keyFile } from '../../src/secrets/index.ts'
import { openSqliteStore } from '../../src/store/index.ts'
import { listenForPeers } from '../../src/transport/index.ts'
import { ledgerPort, ledgerProvider } from './ledger.ts'

export interface NodeConfig {
  readonly role: 'agent' | 'control'
  /** Name of the node, or of this control as a holder of the lease. */
  readonly name: string
  readonly dir: string
  readonly host: string
  readonly port: number
  /** Keys of the nodes, in hex. */
  readonly keys: Readonly<Record<string, string>>
  /** Agents: the node's own address. */
  readonly advertise: string
  /** Names the limit groups of this cluster. */
  readonly group: string
}

type Command = Readonly<Record<string, unknown>>
type Answer = (command: Command) => Promise<unknown>

const config = JSON.parse(process.argv[2] ?? '{}') as NodeConfig
const say = (line: unknown): void => void process.stdout.write(`${JSON.stringify(line)}\n`)
const onNotice = (notice: string): void => say({ notice })

function sandboxDriver(): SandboxDriver {
  const options = { clock, groups: detectLimitGroups(clock, config.group) }
  try {
    return bubblewrapDriver(options)
  } catch (error) {
    if (!isSteadError(error)) throw error
    return processDriver(options)
  }
}

async function runAgent(stack: AsyncDisposableStack): Promise<Answer> {
  const { name, dir, host, port, advertise } = config
  const bundles = await createBundleStore({ root: join(dir, 'bundles'), clock })
  const sandbox = sandboxDriver()
  const network = stack.use(chooseNetworkDriver())
  const key = Buffer.from(config.keys[name] ?? '', 'hex')
  const agent = stack.use(
    await startAgent(
      {
        name,
        stateDir: join(dir, 'agent'),
        runDir: join(dir, 'run'),
        clock,
        random,
        sandbox,
        unsandboxed: sandbox,
        network,
        domain: copyDriver({ clock }),
        domainBytes: 2 ** 30,
        providers: new Map([['ledger', ledgerProvider()]]),
        openBundle: (digest) => bundles.open(digest),
        importBundle: (bytes) => bundles.import(bytes),
        program: (bundle, run) => programOf({ bundles, sandbox }, bundle, run),
        advertise,
        keys: keyFile(join(dir, 'node.key')),
        onNotice,
      },
      { kind: 'tls', host, port, identity: name, key },
    ),
  )
  return async ({ command }) => (command === 'statuses' ? agent.statuses() : null)
}

/** Takes the lease as soon as the control before has let go of it or died. */
async function takeOver(start: () => Promise<Control>): Promise<Control> {
  for (;;) {
    try {
      return await start()
    } catch (error) {
      if (!isSteadError(error) || error.code !== 'control.elsewhere') throw error
      await sleep(clock, 250)
    }
  }
}

async function runControl(stack: AsyncDisposableStack): Promise<Answer> {
  const { name, dir, host, port, keys } = config
  const bundles = await createBundleStore({ root: join(dir, 'bundles'), clock })
  const store = stack.adopt(await openSqliteStore({ path: join(dir, 'store.sqlite'), clock }), (open) => open.close())
  const types = [{ type: 'ledger', port: ledgerPort, credential: 'own' as const }]
  const readBundle = (digest: string): AsyncIterable<Uint8Array> => bundles.export(digest)
  const onFatal = (error: unknown): void => {
    say({ fatal: messageOf(error) })
    process.exit(1)
  }
  const vaultKeys = keyFile(join(dir, 'vault.key'))
  const options = {
    store,
    clock,
    random,
    types,
    holder: name,
    onFatal,
    readBundle,
    keys: vaultKeys,
    onSecretRead: () => {},
  }
  const control = stack.use(await takeOver(() => startControl(options)))
  const keyOf = (identity: string): Uint8Array | null => {
    const key = keys[identity]
    return key === undefined ? null : Buffer.from(key, 'hex')
  }
  const address = { kind: 'tls', host, port, identity: '', key: Buffer.alloc(0) } as const
  const listening = { clock, schema: upwardSchema, keyOf }
  stack.use(await listenForPeers<Downward, Upward>(address, listening, (channel) => control.accept(channel)))

  return async ({ command, from, ...rest }) => {
    if (command === 'view') return control.view(String(rest['app']))
    if (command === 'nodes') return control.nodes()
    if (command === 'stop') return control.stop(String(rest['app']))
    if (command !== 'apply') return null
    const graph = await parseGraph(rest['graph'])
    const { runtime } = await bundles.resolveRuntime('python3')
    const { digest } = await bundles.make({ from: String(from), runtime })
    const parts = graph.parts.filter((part) => part.kind !== 'resource')
    const made = Object.fromEntries(parts.map((part) => [part.name, digest]))
    const home = typeof rest['home'] === 'string' ? { home: rest['home'] } : {}
    await control.apply({ graph, bundles: made, ...home })
    return digest
  }
}

/** A request from this process, and so from its network. */
function get(host: string, port: number, path: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const question = request({ host, port, path, agent: false, timeout: 5000 }, (answer) => {
      text(answer).then((body) => resolve(answer.statusCode === 200 ? JSON.parse(body) : body), reject)
    })
    question.on('timeout', () => question.destroy(new Error('no answer within 5 s')))
    question.on('error', reject)
    question.end()
  })
}

await using stack = new AsyncDisposableStack()
const answer = config.role === 'agent' ? await runAgent(stack) : await runControl(stack)
const ended = Promise.withResolvers<void>()
process.once('SIGTERM', () => ended.resolve())
createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line) as Command & { id: number }
  const result =
    command['command'] === 'get'
      ? get(String(command['host']), Number(command['port']), String(command['path']))
      : answer(command)
  result.then(
    (value) => say({ id: command.id, value: value ?? null }),
    (error: unknown) => say({ id: command.id, error: messageOf(error) }),
  )
})
say({ ready: true })
await ended.promise
process.stdin.destroy()
