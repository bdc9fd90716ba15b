/**
 * Keeps the processes of the daemon running: starts each, and again when it ends. It holds the socket of the way in, so
 * that connections wait while a gateway is replaced instead of being refused.
 *
 * Invariant: its own end ends nothing. After a kill the processes go on, and the next supervisor starts new ones, which
 * take over from them; an upgrade is the same with a new program.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { messageOf, SteadError } from '../../base/index.ts'
import { openLibc } from '../../network/index.ts'
import { daemonHome, prepareHome } from '../home.ts'
import { version } from '../version.ts'
import { claim, claimPath, holderOf, lost, release, type Role, roles, takeOver } from './claim.ts'

/** Between two starts of a process that ends over and over. */
const pauseMinMs = 50
const pauseMaxMs = 5000
/** A process that ran this long was well: the pauses begin anew. */
const steadyMs = 10_000
/** How long a supervisor before this one may take to leave. */
const graceMs = 5000
/** How often it looks whether its claim stands. */
const lookMs = 1000
/** How long the processes may take to let go when everything is to end. */
const stopMs = 10_000

/** Control and agent make little garbage, and stay for months: what favours memory over speed saves each of them 10 to 20 MB. */
const memoryFlags: Readonly<Record<Role, readonly string[]>> = {
  control: ['--optimize-for-size'],
  agent: ['--optimize-for-size'],
  gateway: [],
}

export interface SuperviseOptions {
  readonly host: string
  readonly port: number
  /** Further words that every process is started with. */
  readonly more: readonly string[]
  /** Whether it holds the socket of the way in; false where another program opens it. */
  readonly holdsDoor: boolean
  readonly onNotice: (text: string) => void
}

/** What ended it: it was told to stop, to take up a new version, or another supervisor has come. */
export type SupervisorEnd = 'stopped' | 'renewed' | 'replaced'

/** Runs until SIGTERM or SIGINT (ends its processes; apps go on), SIGHUP, or another supervisor: these leave them to the next. */
export async function supervise({ host, port, more, holdsDoor, onNotice }: SuperviseOptions): Promise<SupervisorEnd> {
  const home = daemonHome()
  prepareHome(home)
  const path = claimPath(home, 'supervisor')
  const end = Promise.withResolvers<SupervisorEnd>()
  const onStop = (): void => end.resolve('stopped')
  process.on('SIGTERM', onStop).on('SIGINT', onStop)
  process.on('SIGHUP', () => end.resolve('renewed')).on('SIGUSR2', () => end.resolve('replaced'))
  const fd = holdsDoor ? openDoor(host, port) : null
  // One that is there leaves its processes to us.
  const before = holderOf(path)
  if (before !== null) onNotice(`takes over from the \`stead serve\` of process ${before.pid}`)
  await takeOver(path, graceMs, 'SIGUSR2')
  claim(path, version)
  const stop = new AbortController()
  const children = new Map<Role, ChildProcess>()
  const start = (role: Role): ChildProcess => {
    const door = role === 'gateway' && fd !== null
    const place = ['--host', host, '--port', String(port), ...more]
    const args = ['serve', '--role', role, ...place, ...(door ? ['--fd', '3'] : [])]
    const child = spawn(process.execPath, [...process.execArgv, ...memoryFlags[role], process.argv[1] ?? '', ...args], {
      detached: true,
      stdio: ['ignore', 'inherit', 'inherit', ...(door ? [fd] : [])],
    })
    children.set(role, child)
    return child
  }
  const keep = async (role: Role): Promise<void> => {
    let pauseMs = pauseMinMs
    while (!stop.signal.aborted) {
      const startMs = performance.now()
      const how = await ended(start(role))
      if (stop.signal.aborted) return
      if (performance.now() - startMs >= steadyMs) pauseMs = pauseMinMs
      onNotice(`${role} ended (${how}) and is started again`)
      await pause(pauseMs, undefined, { signal: stop.signal }).catch(() => {})
      pauseMs = Math.min(pauseMs * 2, pauseMaxMs)
    }
  }
  const kept = roles.map(keep)
  // Two that start in the same moment see nobody; the one whose claim stands stays.
  const look = setInterval(() => {
    if (lost(path)) end.resolve('replaced')
  }, lookMs)
  const how = await end.promise
  clearInterval(look)
  stop.abort()
  if (how === 'stopped') {
    for (const child of children.values()) child.kill('SIGTERM')
    // Control is done in a moment; an agent and a gateway may stay a while for what they still carry.
    await Promise.race([Promise.all(kept), pause(stopMs, undefined, { ref: false })])
  }
  for (const child of children.values()) child.unref()
  release(path)
  return how
}

/**
 * The socket of the way in, which outlives gateways; null where this machine cannot give it away, and the gateway listens
 * itself. Throws `cli.port-refused`.
 */
function openDoor(host: string, port: number): number | null {
  const libc = openLibc()
  if ('reason' in libc) return null
  try {
    return libc.listeningSocket(host, port)
  } catch (cause) {
    throw new SteadError({
      code: 'cli.port-refused',
      message: `the way in cannot be opened at ${host}: ${messageOf(cause)}`,
      hint: `When another program has port ${port}, stop it or choose another with --port: ss -ltnp "sport = ${port}" shows it.`,
      retry: 'later',
      cause,
    })
  }
}

function ended(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(signal ?? `code ${code}`))
  })
}

/** The command that starts this Stead again, also after its files were replaced by a newer version's. */
export function entryOf(args: readonly string[]): { readonly file: string; readonly argv: readonly string[] } {
  const script = process.env['STEAD_ENTRY']
  if (script !== undefined) return { file: script, argv: [script, ...args] }
  return { file: process.execPath, argv: [process.execPath, ...process.execArgv, process.argv[1] ?? '', ...args] }
}

/** Where systemd looks for units that an administrator installs. */
export const unitPath: string = join('/etc/systemd/system', 'stead.service')
