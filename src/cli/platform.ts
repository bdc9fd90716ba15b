/**
 * The whole platform in one process: store, control, agent and gateway, wired by the same protocol and transport that
 * carry them between machines. This is the only place that knows all of them.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { startAgent } from '../agent/index.ts'
import { isSteadError, messageOf, SteadError, systemClock, systemRandom } from '../base/index.ts'
import { type Apply, type AppView, type Control, startControl } from '../control/index.ts'
import { connectGateway, createGateway } from '../gateway/index.ts'
import { type Downward, type LogLine, type Upward, upwardSchema } from '../protocol/index.ts'
import { openSqliteStore, type Store } from '../store/index.ts'
import { listenForPeers } from '../transport/index.ts'
import type { Home } from './home.ts'
import { type Machine, programOf } from './machine.ts'

/** Name of the only node. */
export const localNode = 'local'

/** How long a stop waits for requests in flight and slow programs, before they are ended. */
const stopTimeoutMs = 2500

/** How long the way in waits at the very end for requests that do not. */
const closeMs = 1000

/** Size of an app's data where the driver limits it. */
const domainBytes = 4 * 1024 ** 3

export interface PlatformOptions {
  readonly home: Home
  readonly machine: Machine
  /** Null: no way in, for commands that only stop things. */
  readonly port: number | null
  readonly onNotice: (text: string) => void
  readonly onFatal: (error: unknown) => void
}

export interface Platform extends AsyncDisposable {
  /** Port of the way in; null without one. */
  readonly port: number | null
  apply(apply: Omit<Apply, 'home'>): Promise<number>
  /** Stops an app: what uses comes down before what is used. Gives up waiting after `stopTimeoutMs`; disposing then ends the rest. */
  stop(app: string): Promise<void>
  view(app: string): AppView | null
  apps(): readonly string[]
  onChange(run: () => void): Disposable
  logs: Control['logs']
  operate: Control['operate']
  open: Control['open']
}

/** Starts everything, in the order that a failure leaves nothing behind: the port and the store are taken first. */
export async function startPlatform({ home, machine, port, onNotice, onFatal }: PlatformOptions): Promise<Platform> {
  const clock = systemClock
  const random = systemRandom
  await using stack = new AsyncDisposableStack()

  const gateway = stack.use(
    createGateway({ connect: (endpoint) => machine.network.connect(endpoint), limits: { closeMs }, clock, random }),
  )
  const bound = port === null ? null : await gateway.listen(port)
  const store = stack.adopt(await openStore(home), (opened) => opened.close())
  const types = [...machine.providers.values()].map(({ type, port: dialled }) => {
    return { type, port: dialled, credential: dialled === null ? ('shared' as const) : ('own' as const) }
  })
  const readBundle = (digest: string): AsyncIterable<Uint8Array> => machine.bundles.export(digest)
  const control = stack.use(await startControl({ store, clock, random, types, holder: localNode, onFatal, readBundle }))
  const address = { kind: 'unix', path: home.controlSocket } as const
  const listening = { clock, schema: upwardSchema, keyOf: () => null }
  stack.use(await listenForPeers<Downward, Upward>(address, listening, (channel) => control.accept(channel)))
  stack.use(
    await startAgent(
      {
        name: localNode,
        stateDir: home.agentDir,
        runDir: home.runDir,
        clock,
        random,
        ...machine,
        domainBytes,
        openBundle: (digest) => machine.bundles.open(digest),
        importBundle: (bytes) => machine.bundles.import(bytes),
        program: (bundle, run) => programOf(machine, bundle, run),
        advertise: null,
        onNotice,
      },
      address,
    ),
  )
  if (port !== null) stack.use(connectGateway({ name: localNode, gateway, clock, random, onNotice }, address))

  const running = stack.move()
  return {
    port: bound?.port ?? null,
    apply: (apply) => control.apply({ ...apply, home: localNode }),
    async stop(app) {
      // The way in closes meanwhile: no new requests, and none that never ends.
      await Promise.all([gateway.close(), stopApp(control, app)])
    },
    view: (app) => control.view(app),
    apps: () => control.apps(),
    onChange: (run) => control.onChange(run),
    logs: (assignment, options): AsyncIterable<LogLine> => control.logs(assignment, options),
    operate: (order) => control.operate(order),
    open: (target) => control.open(target),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

/** Tries to take the store, and how long at most between two tries. */
const openTriesMax = 5
const openPauseMs = 300

/** Opens the store. Two that reach for its lock in the same moment may both miss it, so each tries again at a time of its own. */
async function openInTurn(path: string): Promise<Store> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await openSqliteStore({ path, clock: systemClock })
    } catch (error) {
      if (tries === openTriesMax || !isSteadError(error) || error.code !== 'store.in-use') throw error
      const share = (systemRandom.bytes(1)[0] ?? 0) / 255
      await pause(openPauseMs * (0.2 + 0.8 * share))
    }
  }
}

/** The platform's records. Throws `cli.damaged-state`, `cli.already-running`, or as `openSqliteStore` says. */
async function openStore(home: Home): Promise<Store> {
  try {
    return await openInTurn(home.storePath)
  } catch (cause) {
    const code = isSteadError(cause) ? cause.code : null
    if (code === 'store.corrupt') {
      throw new SteadError({
        code: 'cli.damaged-state',
        message: messageOf(cause),
        hint:
          'It holds what runs here and the secrets; the data of databases lies beside it and was not touched. Put a copy ' +
          'of the file back in its place; or begin anew with `stead down --delete-data`, which deletes that data too.',
        cause,
      })
    }
    if (code !== 'store.in-use') throw cause
    throw new SteadError({
      code: 'cli.already-running',
      message: `another stead is working on ${home.appDir} at this moment`,
      hint: 'See `stead status`, and try again when it has ended.',
      retry: 'later',
      cause,
    })
  }
}

async function stopApp(control: Control, app: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const look = (): void => {
    if (control.view(app)?.running !== true) resolve()
  }
  using _listening = control.onChange(look)
  using _timer = systemClock.after(stopTimeoutMs, resolve)
  await control.stop(app)
  look()
  await promise
}
