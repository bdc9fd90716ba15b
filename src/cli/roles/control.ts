/** Control on this machine, with its store: startable by itself. */
import { setTimeout as pause } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import type { BundleStore } from '../../artifact/index.ts'
import { isSteadError, messageOf, SteadError, systemClock as clock, systemRandom as random } from '../../base/index.ts'
import { type Control, type ResourceType, startControl } from '../../control/index.ts'
import { type Downward, type Upward, upwardSchema } from '../../protocol/index.ts'
import type { Provider } from '../../provider/index.ts'
import { keyFile } from '../../secrets/index.ts'
import { openSqliteStore, type Store } from '../../store/index.ts'
import { listenForPeers } from '../../transport/index.ts'
import type { Home } from '../home.ts'
import { secretLog } from '../secret-log.ts'
import { controlAddress, localNode } from './local.ts'

/**
 * From so many nodes on speed counts for more than memory: with what the daemon starts control with (see supervisor.ts) its collector
 * takes half of all time while they come.
 */
const manyNodes = 5000

export interface ControlRole extends AsyncDisposable {
  readonly control: Control
}

/** Takes the store, and listens for agents and gateways. Throws `cli.damaged-state`, `cli.already-running`, or as `openSqliteStore` says. */
export async function startControlRole(
  home: Home,
  providers: Iterable<Pick<Provider, 'type' | 'port'>>,
  bundles: Pick<BundleStore, 'export'>,
  onFatal: (error: unknown) => void,
): Promise<ControlRole> {
  await using stack = new AsyncDisposableStack()
  const store = stack.adopt(await openStore(home), (opened) => opened.close())
  const types = [...providers].map(({ type, port }): ResourceType => {
    return { type, port, credential: type === 'secret' ? 'shared' : 'own' }
  })
  const readBundle = (digest: string): AsyncIterable<Uint8Array> => bundles.export(digest)
  const keys = keyFile(home.vaultKeyPath)
  const options = { store, clock, random, types, holder: localNode, onFatal, readBundle, keys, backupsOn: localNode }
  const control = stack.use(await startControl({ ...options, onSecretRead: secretLog(home.secretLogPath) }))
  const listening = { clock, schema: upwardSchema, keyOf: () => null }
  stack.use(
    await listenForPeers<Downward, Upward>(controlAddress(home), listening, (channel) => control.accept(channel)),
  )
  const noticing = control.batch.onChange(() => {
    if (control.batch.nodeCount < manyNodes) return
    noticing[Symbol.dispose]()
    setFlagsFromString('--no-optimize-for-size')
  })
  stack.use(noticing)
  const running = stack.move()
  return { control, [Symbol.asyncDispose]: () => running.disposeAsync() }
}

/** Tries to take the store, and how long at most between two tries. */
const openTriesMax = 5
const openPauseMs = 300

/** Opens the store. Two that reach for its lock in the same moment may both miss it, so each tries again at a time of its own. */
async function openInTurn(path: string): Promise<Store> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await openSqliteStore({ path, clock })
    } catch (error) {
      if (tries === openTriesMax || !isSteadError(error) || error.code !== 'store.in-use') throw error
      const share = (random.bytes(1)[0] ?? 0) / 255
      await pause(openPauseMs * (0.2 + 0.8 * share))
    }
  }
}

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
