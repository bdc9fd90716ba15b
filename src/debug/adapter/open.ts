/**
 * A debug adapter that has been opened for one process, and the beginning of a session with it: the part that every use of it
 * (an editor, a stack, a snapshot) has in common.
 *
 * Invariant: however a use ends, the adapter is told to let go of the process without ending it, and is ended after that.
 */
import { type Clock, sleep } from '../../base/index.ts'
import { type Arguments, objectsIn } from '../dap/peer.ts'
import { type AdapterStreams, DapSession } from '../dap/session.ts'
import { connectionLost } from '../refusals.ts'

/** What a language brings along: its own adapter, as it speaks. */
export interface OpenAdapter {
  readonly streams: AdapterStreams
  /** What its `attach` is told. What the client says there is not handed on: it could name programs to run. */
  readonly attach: Arguments
  /** What it is told beside that to leave the program standing; none where it can only be asked to pause. */
  readonly attachStanding?: Arguments
  /** It stops the program when it has attached, and says so; the others let it run when breakpoints are set. */
  readonly stopsFirst: boolean
  /** It puts breakpoints into the code: the program is stopped before they are taken out. */
  readonly pausesLast: boolean
  /** A signal of the adapter's waits in the program, which would be ended by it. */
  readonly isUnsettled?: () => boolean
  /** Files of the program that may be meant by a path of a client, as the adapter names them. */
  files(session: DapSession, path: string): Promise<readonly string[]>
  /** Files are named below the roots of a project, as languages with packages do, and not as the machine has them. */
  readonly namesBelowRoot?: boolean
  /** How many lines a file has, where the adapter takes any line; null where it cannot be told. */
  readonly lines?: (path: string) => number | null
  /** An expression as it may be handed on. Throws `debug.refused` for what is none. */
  readonly guard: (expression: string) => string
  /** Ends it. The process has been let go of. */
  readonly end: () => Promise<void>
}

/** Longest wait for a process to be attached: symbols of a big program are read. */
export const attachMs = 60_000
/** Longest wait for a program to stand still, and how often it is asked to. */
const pauseMs = 2500
const pauseTriesMax = 2
const settleTriesMax = 5
/** In that time a program that runs gets a signal that waits for it. */
const settleMs = 50
/** Longest wait for a goodbye. */
const goodbyeMs = 5000

export interface Begun extends AsyncDisposable {
  readonly session: DapSession
  readonly capabilities: Arguments
  /** Begins to attach. Resolves when breakpoints may be set. `standing`: the program is not to run on, where the adapter can do that. */
  attach(standing?: 'standing'): Promise<void>
  /** Stops a program that runs. */
  pause(): Promise<void>
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
  /** A thread that runs into a breakpoint while it is taken out ends the program: it stands still then. */
  const pause = async (): Promise<void> => {
    for (let tries = 0; tries < pauseTriesMax; tries++) {
      const stopped = session.event('stopped', pauseMs)
      stopped.catch(() => undefined)
      try {
        const [thread] = objectsIn(await session.request('threads', {}, pauseMs), 'threads')
        await session.request('pause', { threadId: thread?.['id'] ?? 1 }, pauseMs)
        await stopped
        return
      } catch {
        // It was just attaching, ends, or waits for what cannot be interrupted.
        if (!session.runs) return
      }
    }
  }
  /** A signal that the adapter stopped the program with, and that it has not taken back, would end the program later. */
  const passOn = async (): Promise<void> => {
    try {
      await session.request('continue', { threadId: 1 }, pauseMs)
      await sleep(clock, settleMs)
    } catch {
      // It has ended.
    }
    if (session.runs) await pause()
  }
  let attached: Promise<Arguments> | null = null
  /** Until then an adapter leaves the program standing, and says nothing of it. */
  let went = false
  const lost = session.lost.then((why) => {
    throw connectionLost(why)
  })
  lost.catch(() => undefined)
  const close = async (): Promise<void> => {
    listening[Symbol.dispose]()
    if (adapter.pausesLast && attached !== null) {
      if (session.runs && went) await pause()
      await session.clearBreakpoints(pauseMs)
      for (let tries = 0; tries < settleTriesMax && adapter.isUnsettled?.() === true; tries++) await passOn()
    }
    const goodbye = session.request('disconnect', { restart: false, terminateDebuggee: false }, goodbyeMs)
    await goodbye.catch(() => undefined)
    await adapter.end()
  }
  try {
    const capabilities = await session.request('initialize', ourselves)
    return {
      session,
      capabilities,
      pause,
      async attach(standing) {
        const more = standing === undefined ? {} : adapter.attachStanding
        attached = session.request('attach', { ...adapter.attach, ...more }, attachMs)
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
        went = true
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
