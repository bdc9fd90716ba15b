/**
 * What the kernel says about processes of this host, in whatever namespaces they live.
 *
 * Invariant: a process is named by its id and its start together; nothing is done to one that has taken the id of another.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { SteadError, systemCodeOf } from '../../base/index.ts'
import { isExiting, stateAndStart, statusField, type TcpRow, tcpRows } from '../facts.ts'
import type { ProcessFacts } from '../recipe.ts'
import { badRequest, noProcess, notAllowed, processGone } from '../refusals.ts'

/** Throws `debug.no-process`, `debug.forbidden`; `debug.refused` where there is no /proc. */
export function readProcess(pid: number): ProcessFacts {
  if (process.platform !== 'linux') {
    throw new SteadError({
      code: 'debug.refused',
      message: `attaching by process id needs Linux, this is ${process.platform}`,
    })
  }
  const uid = ownerOf(pid)
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const found = stateAndStart(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    if (found === null) throw noProcess(pid)
    const shares = (name: string): boolean =>
      readlinkSync(`/proc/${pid}/ns/${name}`) === readlinkSync(`/proc/self/ns/${name}`)
    return {
      pid,
      start: found.start,
      executable: readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, ''),
      argv: readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1),
      uid,
      gid: Number(statusField(status, 'Gid').split(/\s+/)[1]),
      innerPid: Number(statusField(status, 'NSpid').split(/\s+/).at(-1) ?? pid),
      state: found.state,
      caughtSignals: BigInt(`0x${statusField(status, 'SigCgt') || '0'}`),
      shares: { network: shares('net'), files: shares('mnt'), pids: shares('pid') },
      tracerPid: Number(statusField(status, 'TracerPid')),
    }
  } catch (error) {
    const code = systemCodeOf(error) ?? ''
    if (code === 'ENOENT' || code === 'ESRCH') throw noProcess(pid)
    if (code === 'EACCES' || code === 'EPERM') throw notAllowed(pid, uid)
    throw error
  }
}

/**
 * The id of the process that a word names: an id, or the name of a program or of the script that it runs. Throws
 * `debug.no-process`, and `debug.bad-request` where there are several.
 */
export function findProcess(word: string): number {
  if (/^\d{1,7}$/.test(word)) return Number(word)
  const found = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && isNamed(Number(name), word))
  const [only, ...more] = found.map(Number).filter((pid) => pid !== process.pid)
  if (only === undefined) throw noProcess(word)
  if (more.length === 0) return only
  const ids = [only, ...more].slice(0, 10).join(', ')
  throw badRequest(`${more.length + 1} processes are called ${word}`, `Name one by its id: ${ids}.`)
}

function isNamed(pid: number, word: string): boolean {
  try {
    const [program = '', ...words] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
    const script = words.find((one) => !one.startsWith('-')) ?? ''
    return basename(program) === word || basename(script) === word || basename(script).replace(/\.\w+$/, '') === word
  } catch {
    return false
  }
}

function ownerOf(pid: number): number {
  try {
    return statSync(`/proc/${pid}`).uid
  } catch {
    throw noProcess(pid)
  }
}

/** A variable of the environment it was started with; empty when there is none, or it is gone. */
export function startedWith({ pid }: Pick<ProcessFacts, 'pid'>, name: string): string {
  try {
    const variables = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
    return variables.find((variable) => variable.startsWith(`${name}=`))?.slice(name.length + 1) ?? ''
  } catch {
    return ''
  }
}

/** Whether it still is the same process, and not one that is ending or waits to be collected. */
export function isAlive({ pid, start }: Pick<ProcessFacts, 'pid' | 'start'>): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stateAndStart(stat)?.start === start && !isExiting(stat)
  } catch {
    return false
  }
}

/** Sends a signal to that very process. Throws `debug.process-gone`, `debug.forbidden`. */
export function signalProcess(facts: ProcessFacts, signal: NodeJS.Signals | number): void {
  if (!isAlive(facts)) throw processGone(facts)
  try {
    process.kill(facts.pid, signal)
  } catch (error) {
    throw systemCodeOf(error) === 'EPERM' ? notAllowed(facts.pid, facts.uid) : processGone(facts)
  }
}

/** Whether a signal has been sent to the process that it has not got yet. */
export function isPending({ pid }: Pick<ProcessFacts, 'pid'>, signal: number): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const pending =
      BigInt(`0x${statusField(status, 'ShdPnd') || '0'}`) | BigInt(`0x${statusField(status, 'SigPnd') || '0'}`)
    return (pending & (1n << BigInt(signal - 1))) !== 0n
  } catch {
    return false
  }
}

/** TCP sockets of the network a process lives in. Empty when it is gone. */
export function socketsAround(pid: number): readonly TcpRow[] {
  return ['tcp', 'tcp6'].flatMap((name) => {
    try {
      return tcpRows(readFileSync(`/proc/${pid}/net/${name}`, 'utf8'))
    } catch {
      return []
    }
  })
}

/** The sockets among them on which the process itself listens. */
export function listeningSockets(pid: number): readonly TcpRow[] {
  const own = new Set<number>()
  try {
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      const inode = socketInode(`/proc/${pid}/fd/${fd}`)
      if (inode !== null) own.add(inode)
    }
  } catch {
    return []
  }
  return socketsAround(pid).filter((row) => row.listening && own.has(row.inode))
}

function socketInode(path: string): number | null {
  try {
    const found = /^socket:\[(\d+)\]$/.exec(readlinkSync(path))
    return found === null ? null : Number(found[1])
  } catch {
    // Closed since the directory was read.
    return null
  }
}
