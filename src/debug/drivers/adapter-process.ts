/**
 * Programs that are debug adapters, run on this machine for one session each.
 *
 * Invariants: an adapter has the rights of the process that it looks into and no more, so that neither what it is told nor
 * what it reads there (symbols, sources) gets the rights of who started it. It ends with its session: it is asked to, and
 * ended only when it does not, because one that is ended at once leaves its breakpoints in the program.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { chownSync, closeSync, mkdtempSync, openSync, rmSync, statSync } from 'node:fs'
import { connect, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { type Clock, sleep } from '../../base/index.ts'
import { encodeDap } from '../dap/codec.ts'
import type { AdapterStreams } from '../dap/session.ts'
import type { ProcessFacts } from '../recipe.ts'
import { didNotAnswer, refused } from '../refusals.ts'
import { sweepBreakpoints } from './sweep.ts'

export interface AdapterProcess {
  readonly streams: AdapterStreams
  readonly end: () => Promise<void>
}

const endMs = 10_000
const listenMs = 20_000
const errorBytesMax = 4000
/** A program is stopped in that time, before it is let go of; and an adapter ends in that. */
const farewellMs = { pause: 500, end: 5000 }

/** Who an adapter runs as: root hands its rights on to nobody. */
export function rightsOf(facts: ProcessFacts): { readonly uid?: number; readonly gid?: number } {
  return process.getuid?.() === 0 ? { uid: facts.uid, gid: facts.gid } : {}
}

/** Starts an adapter that speaks on its standard streams. */
export function startAdapter(facts: ProcessFacts, argv: readonly string[], clock: Clock): AdapterProcess {
  const [input, output] = [openPipe(), openPipe()]
  const heldOutput = openSync(output.path, 'r')
  const { child, said } = run(facts, argv, '/', [input.read, output.write])
  const relay = startRelay(child, facts, [input.write, heldOutput])
  for (const fd of [input.read, input.write, output.write, heldOutput]) closeSync(fd)
  for (const { directory } of [input, output]) rmSync(directory, { recursive: true })
  const from = new Socket({ fd: output.read, readable: true, writable: false })
  child.once('error', (error) => from.destroy(error))
  child.once('exit', (code) => {
    // What it said last is still to be read.
    if (code !== 0) from.destroy(new Error(lastLine(said()) ?? 'it ended'))
  })
  relay.once('error', (error) => from.destroy(error))
  const { stdin: to } = relay
  if (to === null) throw new Error('a relay without an input')
  // The adapter may have ended, and the relay with it.
  to.on('error', () => undefined)
  return { streams: { from, to }, end: () => ended(child, () => to.end(), facts, clock) }
}

/** A pipe by its name, which both ends of it can be opened by, more than once; all of them wait for nobody. */
function openPipe(): {
  readonly directory: string
  readonly path: string
  readonly read: number
  readonly write: number
} {
  const directory = mkdtempSync(join(tmpdir(), 'stead-pipe-'))
  const path = join(directory, 'p')
  execFileSync('mkfifo', ['-m', '600', path])
  const both = openSync(path, 'r+')
  const [read, write] = [openSync(path, 'r'), openSync(path, 'w')]
  closeSync(both)
  return { directory, path, read, write }
}

/**
 * What carries our words to an adapter, and outlives us: when we are gone without a word, it says goodbye for us. An adapter whose
 * input just ends leaves its breakpoints in a program that runs, which ends at the next of them.
 */
function startRelay(
  { pid }: ChildProcess,
  facts: ProcessFacts,
  [to, heldOutput]: readonly [number, number],
): ChildProcess {
  const relay = spawn('/bin/sh', ['-c', relayScript, 'sh', ...farewell, String(pid)], {
    ...rightsOf(facts),
    cwd: '/',
    env: { PATH: '/usr/bin:/bin' },
    // It holds the other end of what the adapter says, which would be ended by saying it to nobody.
    stdio: ['pipe', to, 'ignore', heldOutput],
    detached: true,
  })
  relay.unref()
  return relay
}

const relayScript = [
  'exec 2>/dev/null',
  'cat',
  // An adapter that has ended takes nothing more: its id may be another's by then.
  `printf '%s' "$1" || exit`,
  `sleep ${farewellMs.pause / 1000}`,
  `printf '%s' "$2" || exit`,
  `sleep ${farewellMs.end / 1000}`,
  `printf '\\n' && kill -KILL "$3"`,
].join('; ')
const farewell = [
  { command: 'pause', arguments: { threadId: 1 } },
  { command: 'disconnect', arguments: { restart: false, terminateDebuggee: false } },
].map((request, index) => encodeDap({ seq: 2 ** 30 + index, type: 'request', ...request }).toString())

/** Starts an adapter that is told a Unix socket to listen on, and connects. Throws `debug.refused`, `debug.no-answer`. */
export async function startListeningAdapter(
  facts: ProcessFacts,
  argvFor: (socketPath: string) => readonly string[],
  clock: Clock,
): Promise<AdapterProcess> {
  const dir = mkdtempSync(join(tmpdir(), 'stead-adapter-'))
  const { uid, gid } = rightsOf(facts)
  if (uid !== undefined && gid !== undefined) chownSync(dir, uid, gid)
  const socketPath = join(dir, 's')
  const { child, said } = run(facts, argvFor(socketPath), dir)
  child.stdout?.resume()
  const remove = (): void => rmSync(dir, { recursive: true, force: true })
  try {
    const stream = await connected(child, socketPath, said, clock)
    // Who is connected needs it no more, and nobody else is to come; a killed command leaves nothing then.
    remove()
    return { streams: { from: stream, to: stream }, end: () => ended(child, () => stream.destroy(), facts, clock) }
  } catch (error) {
    child.kill('SIGTERM')
    remove()
    throw error
  }
}

/** Runs a program to its end with the rights of the process, and no input. Never rejects but where it cannot be started. */
export function runWithRights(
  facts: ProcessFacts,
  argv: readonly string[],
  timeoutMs: number,
  outputBytesMax: number,
  clock: Clock,
): Promise<{ readonly code: number | null; readonly output: string; readonly errors: string }> {
  return new Promise((resolve, reject) => {
    const { child, said } = run(facts, argv, '/')
    const pieces: Buffer[] = []
    let held = 0
    const timer = clock.after(timeoutMs, () => child.kill('SIGKILL'))
    child.stdin?.end()
    child.stdout?.on('data', (piece: Buffer) => {
      held += piece.length
      if (held > outputBytesMax) child.kill('SIGKILL')
      else pieces.push(piece)
    })
    child.once('error', (error) => {
      timer[Symbol.dispose]()
      reject(error)
    })
    child.once('close', (code) => {
      timer[Symbol.dispose]()
      resolve({ code, output: Buffer.concat(pieces).toString(), errors: said() })
    })
  })
}

function run(
  facts: ProcessFacts,
  [command = '', ...args]: readonly string[],
  home: string,
  [input, output]: readonly (number | 'pipe')[] = ['pipe', 'pipe'],
): { readonly child: ChildProcess; readonly said: () => string } {
  // It may lie where only we can go, as what root has installed for itself: it is handed over open.
  const program = openSync(command, 'r')
  const child = spawn(isReachable(command) ? command : '/proc/self/fd/3', args, {
    ...rightsOf(facts),
    argv0: command,
    cwd: '/',
    // Nothing of ours, and nothing of its own is remembered.
    env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', HOME: home, LANG: 'C.UTF-8' },
    stdio: [input, output, 'pipe', program],
    // What is meant for us, such as Ctrl-C, does not end it before it has let go.
    detached: true,
  })
  closeSync(program)
  let said = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said = `${said}${text}`.slice(-errorBytesMax)))
  return { child, said: () => said }
}

/** Whether everybody may go there. */
function isReachable(path: string): boolean {
  const names = path.split('/')
  return names.every((_, index) => index === 0 || (statSync(names.slice(0, index + 1).join('/')).mode & 0o001) !== 0)
}

async function connected(child: ChildProcess, path: string, said: () => string, clock: Clock): Promise<Duplex> {
  let gone = false
  child.once('error', () => (gone = true))
  child.once('exit', () => (gone = true))
  for (const endAt = clock.monotonicMs() + listenMs; clock.monotonicMs() < endAt; await sleep(clock, 5)) {
    if (gone) throw refused(`the debugger did not start: ${lastLine(said()) ?? 'it said nothing'}`, 'Run it by hand.')
    const stream = await tried(path)
    if (stream !== null) return stream
  }
  throw didNotAnswer('the debugger', listenMs)
}

function tried(path: string): Promise<Duplex | null> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    socket.once('connect', () => resolve(socket))
    socket.once('error', () => resolve(null))
  })
}

async function ended(child: ChildProcess, ask: () => void, facts: ProcessFacts, clock: Clock): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  ask()
  // One that hangs is ended by force, and what it would leave in the code is taken out before and after.
  using _firmly = clock.after(endMs, () => {
    sweepBreakpoints(facts)
    child.kill('SIGKILL')
    sweepBreakpoints(facts)
  })
  await gone
}

function lastLine(text: string): string | undefined {
  return text.trim().split('\n').at(-1)?.trim() || undefined
}
