/**
 * A directory inside a process's own /tmp, made for a debugger and owned by the process's user: what is run there and the
 * Unix socket that it then listens on lie in it.
 *
 * Invariants: everything is written with the rights of the process, and read without following a link that it may have laid
 * out; nothing that it writes is believed but a word and a version. The process removes it itself when the connection ends;
 * whoever made it removes what is left.
 */
import { spawn } from 'node:child_process'
import {
  closeSync,
  constants,
  existsSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { type Clock, messageOf, sleep } from '../../base/index.ts'
import { roomOf } from '../door.ts'
import type { AdapterStreams } from '../dap/session.ts'
import type { ProcessFacts } from '../recipe.ts'
import { didNotAnswer, processGone, refused } from '../refusals.ts'
import { rightsOf } from './adapter-process.ts'
import { isAlive } from './proc.ts'

export interface Room {
  readonly streams: AdapterStreams
  /** As the process said it. */
  readonly version: string
  /** Ends the connection and removes what is left. */
  readonly end: () => Promise<void>
}

export interface RoomContents {
  /** By name. */
  readonly files: Readonly<Record<string, string>>
  /** A directory that is copied to `tools/NAME`; null for none. */
  readonly tools: { readonly parent: string; readonly name: string } | null
}

const openMs = 30_000
const pollMs = 20
const saidBytesMax = 300
const toolMs = 60_000
/** Longest wait for a room to go. */
const leftMs = 3000

/** Makes the room, has the process open it by `knock`, and connects. Throws `debug.refused`, `debug.no-answer`, `debug.process-gone`. */
export async function openRoom(
  facts: ProcessFacts,
  contents: RoomContents,
  knock: () => void,
  clock: Clock,
): Promise<Room> {
  const room = roomOf(facts.innerPid)
  const path = `/proc/${facts.pid}/root${room}`
  const remove = (): Promise<unknown> => runAs(facts, 'rm', ['-rf', path], null).catch(() => undefined)
  await fill(facts, path, contents, clock)
  let directory: number | null = null
  try {
    directory = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
    knock()
    const version = await readiness(facts, directory, clock)
    const stream = await connected(directory)
    return {
      streams: { from: stream, to: stream },
      version,
      async end() {
        stream.destroy()
        // The process takes back what it did, and its room at last: whoever comes next would be in the middle of that.
        for (const endAt = clock.monotonicMs() + leftMs; clock.monotonicMs() < endAt && existsSync(path);)
          await sleep(clock, pollMs)
        await remove()
      },
    }
  } catch (error) {
    await remove()
    throw error
  } finally {
    if (directory !== null) closeSync(directory)
  }
}

async function fill(facts: ProcessFacts, path: string, { files, tools }: RoomContents, clock: Clock): Promise<void> {
  const staging = mkdtempSync(join(tmpdir(), 'stead-room-'))
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(staging, name), text)
    await make(facts, path, clock)
    const copied =
      tools === null ? [] : ['--transform', `s,^${tools.name},tools/${tools.name},`, '-C', tools.parent, tools.name]
    const packed = ['-c', '--exclude=__pycache__', '-C', staging, ...Object.keys(files), ...copied]
    await runAs(facts, 'tar', ['-x', '--no-same-owner', '-C', path], packed)
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
}

/** The process removes the room of a debugger that has just been killed: that is waited for. */
async function make(facts: ProcessFacts, path: string, clock: Clock): Promise<void> {
  for (const endAt = clock.monotonicMs() + leftMs; ; await sleep(clock, pollMs)) {
    try {
      return await runAs(facts, 'mkdir', ['-m', '700', path], null)
    } catch (error) {
      if (clock.monotonicMs() > endAt || !messageOf(error).endsWith('already')) throw error
    }
  }
}

/** Runs a program with the rights of the process; what `tar` packs with our own is its input. */
function runAs(
  facts: ProcessFacts,
  program: string,
  args: readonly string[],
  packed: readonly string[] | null,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const source = packed === null ? null : spawn('tar', [...packed], { stdio: ['ignore', 'pipe', 'ignore'] })
    const child = spawn(program, [...args], {
      ...rightsOf(facts),
      cwd: '/',
      stdio: [source?.stdout ?? 'ignore', 'ignore', 'pipe'],
      timeout: toolMs,
    })
    let said = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (said = `${said}${text}`.slice(0, saidBytesMax)))
    source?.once('error', reject)
    child.once('error', reject)
    child.once('close', (code) => {
      // It would wait for ever for a reader that ended early.
      source?.kill()
      source?.stdout.destroy()
      if (code === 0) return resolve()
      if (!isAlive(facts)) return reject(processGone(facts))
      const reason = /File exists/.test(said)
        ? `another debugger is in process ${facts.pid} already`
        : `nothing can be laid into the /tmp of process ${facts.pid}: ${said.trim().split('\n')[0] ?? ''}`
      reject(refused(reason, `The directory is ${roomOf(facts.innerPid)}, as the process sees it.`))
    })
  })
}

async function readiness(facts: ProcessFacts, directory: number, clock: Clock): Promise<string> {
  for (const endAt = clock.monotonicMs() + openMs; clock.monotonicMs() < endAt; await sleep(clock, pollMs)) {
    if (!isAlive(facts)) throw processGone(facts)
    const said = read(directory, 'said')
    const version = /^ready (\d+\.\d+\.\d+)/.exec(said)?.[1]
    if (version !== undefined) return version
    const failure = /^failed ([\x20-\x7e]+)/.exec(said)?.[1]
    if (failure !== undefined)
      throw refused(`the debugger could not start in process ${facts.pid}: ${failure}`, 'Its own output may say more.')
  }
  throw didNotAnswer(`process ${facts.pid}, which hangs in a call or has blocked signals,`, openMs)
}

/** The beginning of a file in the room; empty while there is none. */
function read(directory: number, name: string): string {
  try {
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
    const fd = openSync(`/proc/self/fd/${directory}/${name}`, flags)
    try {
      const bytes = Buffer.alloc(saidBytesMax)
      return bytes.subarray(0, readSync(fd, bytes)).toString('latin1')
    } finally {
      closeSync(fd)
    }
  } catch {
    return ''
  }
}

function connected(directory: number): Promise<Duplex> {
  const path = `/proc/self/fd/${directory}/s`
  return new Promise((resolve, reject) => {
    if (!lstatSync(path).isSocket()) return reject(refused('what listens in the process is no socket', 'Try again.'))
    const socket = connect({ path })
    socket.once('connect', () => resolve(socket))
    socket.once('error', reject)
  })
}
