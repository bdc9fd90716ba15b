/**
 * An agent as a process of its own, for tests that end it at a named step. Its configuration is the first argument, as JSON;
 * what it is to die of stands in a file, so that it can be said while it runs.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { Client } from 'pg'
import { type Agent, startAgent, stateProvider } from '../../src/agent/index.ts'
import { createBundleStore } from '../../src/artifact/index.ts'
import { isSteadError, sleep, SteadError, systemClock as clock, systemRandom as random } from '../../src/base/index.ts'
import { programOf } from '../../src/cli/machine.ts'
import { npmBinaries, postgresProvider } from '../../src/database/index.ts'
import { btrfsDriver, copyDriver } from '../../src/domain/index.ts'
import { chooseNetworkDriver } from '../../src/network/index.ts'
import type { Provider, ProviderContext } from '../../src/provider/index.ts'
import { bubblewrapDriver, detectLimitGroups, processDriver, type SandboxDriver } from '../../src/sandbox/index.ts'
import { keyFile, secretProvider } from '../../src/secrets/index.ts'

export interface AgentConfig {
  readonly dir: string
  readonly domain: 'copy' | 'btrfs'
  readonly domainBytes: number
  readonly group: string
}

const config = JSON.parse(process.argv[2] ?? '{}') as AgentConfig

function sandboxDriver(): SandboxDriver {
  const options = { clock, groups: detectLimitGroups(clock, config.group) }
  try {
    return bubblewrapDriver(options)
  } catch (error) {
    if (!isSteadError(error)) throw error
    return processDriver(options)
  }
}

/** The real provider, which also writes down how many items there were, and puts that into the data that has come back. */
function watched(own: Provider): Provider {
  const ask = async (context: ProviderContext, text: string, values: readonly unknown[]): Promise<number> => {
    const client = new Client({
      host: context.socketDir,
      user: 'stead_admin',
      password: context.adminPassword,
      database: context.app.replaceAll('-', '_'),
    })
    client.on('error', () => undefined)
    try {
      await client.connect()
      return Number((await client.query<{ n: string }>(text, [...values])).rows[0]?.n)
    } finally {
      await client.end()
    }
  }
  return {
    ...own,
    async prepare(context, phase) {
      // Whoever asks meanwhile finds a server that answers, and a node that has not looked at all that is declared for it.
      if (existsSync(join(config.dir, 'slow'))) await sleep(clock, 1500)
      return own.prepare(context, phase)
    },
    async abandon(context, dir) {
      if (existsSync(join(config.dir, 'mute')))
        throw new SteadError({ code: 'test.mute', message: 'it cannot be asked' })
      await own.abandon?.(context, dir)
      writeFileSync(join(dir, 'items'), String(await ask(context, 'select count(*) as n from items', [])))
    },
    async provision(context) {
      const server = await own.provision(context)
      if (server === null || !existsSync(join(config.dir, 'careless'))) return server
      return { ...server, argv: [...server.argv, '-c', 'fsync=off'] }
    },
    async carry(context, dir, generation) {
      const sentences = (await own.carry?.(context, dir, generation)) ?? []
      await ask(context, 'create table if not exists carried (generation integer, items integer)', [])
      if (!existsSync(join(dir, 'items'))) return sentences
      const items = Number(readFileSync(join(dir, 'items'), 'utf8'))
      await ask(
        context,
        `insert into carried select $1::integer, $2::integer
           where not exists (select 1 from carried where generation = $1::integer)`,
        [generation, items],
      )
      return sentences
    },
  }
}

await using stack = new AsyncDisposableStack()
const bundles = await createBundleStore({ root: join(config.dir, 'bundles'), clock })
const binaries = await npmBinaries(async (source, links) => {
  const fromTop = links.map(({ path, target }) => ({ path, target: posix.join(posix.dirname(path), target) }))
  return (await bundles.materialiseTree(source, fromTop)).path
})
const sandbox = sandboxDriver()
// As a daemon does, it has something that keeps it going.
const alive = setInterval(() => undefined, 1000)
const fate = join(config.dir, 'fate')
let agent: Agent | null = null
agent = stack.use(
  await startAgent(
    {
      name: 'n1',
      stateDir: join(config.dir, 'agent'),
      runDir: join(config.dir, 'r'),
      clock,
      random,
      sandbox,
      unsandboxed: sandbox,
      network: stack.use(chooseNetworkDriver()),
      domain:
        config.domain === 'btrfs'
          ? btrfsDriver({ clock, reserveBytes: () => 0 })
          : copyDriver({ clock, reserveBytes: () => 0 }),
      domainBytes: config.domainBytes,
      providers: new Map([
        ['postgres', watched(postgresProvider({ binaries }))],
        ['secret', secretProvider()],
        ['state', stateProvider()],
      ]),
      openBundle: (digest) => bundles.open(digest),
      importBundle: (bytes) => bundles.import(bytes),
      program: (bundle, run) => programOf({ bundles, sandbox }, bundle, run),
      advertise: '127.0.0.1',
      keys: keyFile(join(config.dir, 'node.key')),
      onNotice: (notice) => void process.stdout.write(`${JSON.stringify({ notice })}\n`),
      async onStep(step) {
        process.stdout.write(`${JSON.stringify({ step, atMs: Date.now() })}\n`)
        const words = existsSync(fate) ? readFileSync(fate, 'utf8').split(' ') : []
        if (words[1] !== step) return
        rmSync(fate)
        if (words[0] === 'agent') process.kill(process.pid, 'SIGKILL')
        if (words[0] === 'slow') return await sleep(clock, 5000)
        const server = agent?.statuses().find(({ id, pid }) => id === 'shop.db' && pid !== null)
        if (server !== undefined && server.pid !== null) process.kill(server.pid, 'SIGKILL')
      },
    },
    { kind: 'unix', path: join(config.dir, 'c') },
  ),
)
const ended = Promise.withResolvers<void>()
process.once('SIGTERM', () => ended.resolve())
process.stdout.write(`${JSON.stringify({ ready: true })}\n`)
await ended.promise
clearInterval(alive)
