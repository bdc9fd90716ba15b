/**
 * A debug adapter that has been opened for one process, and the beginning of a session with it: the part that every use of it
 * (an editor, a stack, a snapshot) has in common.
 *
 * Invariant: however a use ends, the adapter is told to let go of the process without ending it, and is ended after that.
 */
import type { Clock } from '../../base/index.ts'
import type { Arguments } from '../dap/peer.ts'
import { type AdapterStreams, DapSession } from '../dap/session.ts'
import { connectionLost } from '../refusals.ts'

/** What a language brings along: its own adapter, as it speaks. */
export interface OpenAdapter {
  readonly streams: AdapterStreams
  /** What its `attach` is told. What the client says there is not handed on: it could name programs to run. */
  readonly attach: Arguments
  /** It stops the program when it has attached, and says so; the others let it run when breakpoints are set. */
  readonly stopsFirst: boolean
  /** Files of the program that may be meant by a path of a client, as the adapter names them. */
  files(session: DapSession, path: string): Promise<readonly string[]>
  /** An expression as it may be handed on. Throws `debug.refused` for what is none. */
  readonly guard: (expression: string) => string
  /** Ends it. The process has been let go of. */
  readonly end: () => Promise<void>
}

/** Longest wait for a process to be attached: symbols of a big program are read. */
export const attachMs = 60_000
/** Longest wait for a goodbye. */
const goodbyeMs = 10_000

export interface Begun extends AsyncDisposable {
  readonly session: DapSession
  readonly capabilities: Arguments
  /** Begins to attach. Resolves when breakpoints may be set. */
  attach(): Promise<void>
  /** Ends the setting of breakpoints: the program runs. */
  go(): Promise<void>
}

const ourselves = {
  clientID: 'stead',
  adapterID: 'stead',
  linesStartAt1: true,
  columnsStartAt1: true,
  pathFormat: 'path',
  supportsVariableType: true,
}

/** Shakes hands. Closing it lets go of the process and ends the adapter. Throws as `DapSession.request` does. */
export async function begin(adapter: OpenAdapter, clock: Clock): Promise<Begun> {
  const session = new DapSession(adapter.streams, clock)
  const initialized = Promise.withResolvers<void>()
  const first = Promise.withResolvers<Arguments>()
  const listening = session.on((event, body) => {
    if (event === 'initialized') initialized.resolve()
    if (event === 'stopped') first.resolve(body)
  })
  let attached: Promise<Arguments> | null = null
  const lost = session.lost.then((why) => {
    throw connectionLost(why)
  })
  lost.catch(() => undefined)
  const close = async (): Promise<void> => {
    listening[Symbol.dispose]()
    const goodbye = session.request('disconnect', { restart: false, terminateDebuggee: false }, goodbyeMs)
    await goodbye.catch(() => undefined)
    await adapter.end()
  }
  try {
    const capabilities = await session.request('initialize', ourselves)
    return {
      session,
      capabilities,
      async attach() {
        attached = session.request('attach', adapter.attach, attachMs)
        attached.catch(() => undefined)
        if (adapter.stopsFirst) {
          // It attaches only when breakpoints could have been set; they are set while it stands, instead.
          await initialized.promise
          await session.request('configurationDone', {}, attachMs)
          await attached
          await Promise.race([first.promise, lost])
          return
        }
        // Some answer only when breakpoints are set, some say that they are ready only when they have answered.
        await Promise.race([initialized.promise, attached.then(() => initialized.promise), lost])
      },
      async go() {
        if (adapter.stopsFirst) {
          await session.request('continue', { threadId: (await first.promise)['threadId'] })
          return
        }
        await session.request('configurationDone', {}, attachMs)
        await attached
      },
      [Symbol.asyncDispose]: close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
