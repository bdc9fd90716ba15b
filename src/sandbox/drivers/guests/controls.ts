/**
 * The directory in which a machine and its supervisor meet: the sockets of the machine, and the file with its exit.
 *
 * The program that emulates makes them, so at first the directory is its own. As soon as all are there it becomes the
 * supervisor's: whoever broke out of a guest could otherwise put a link in the place of a socket, and have the supervisor,
 * who is root, talk to another.
 *
 * Invariant: the supervisor opens only what is of the right type and the workload's own, in a directory that only it can
 * change.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
} from 'node:fs'
import { randomInt } from 'node:crypto'
import { connect, Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { encodeFrame } from './channel.ts'

/** Names in the directory. The exit is made last. */
export const controls = {
  qmp: 'qmp',
  control: 'control',
  console: 'console',
  debugStub: 'gdb',
  /** There while somebody debugs the kernel. */
  debugged: 'debugged',
  /** Where a machine has no socket for it: what it reads, and what it says. */
  orders: 'orders',
  answers: 'answers',
  /** Not empty once it reads them. */
  ready: 'ready',
  exit: 'exit',
} as const

export type Control = keyof typeof controls
const exitBytesMax = 64

/** Makes the directory, for a workload's user. */
export function makeControls(parent: string, path: string, hostUid: number): void {
  mkdirSync(parent, { recursive: true, mode: 0o711 })
  chmodSync(parent, 0o711)
  mkdirSync(path, { mode: 0o700 })
  if (isRoot()) chownSync(path, hostUid, hostUid)
}

/** Where a control of a machine is, once the machine has made all; null before. */
function placeOf(directory: string, control: Control, hostUid: number): string | null {
  const exit = lstatSync(`${directory}/${controls.exit}`, { throwIfNoEntry: false })
  if (exit === undefined) return null
  if (isRoot()) {
    chownSync(directory, 0, 0)
    chmodSync(directory, 0o711)
  }
  const path = `${directory}/${controls[control]}`
  const found = lstatSync(path, { throwIfNoEntry: false })
  const isOwn = found !== undefined && (!isRoot() || found.uid === hostUid)
  return isOwn && (found.isSocket() || found.isFIFO()) ? path : null
}

/** A connection to a socket of a machine; null while it has none. */
export function reach(directory: string, control: Control, hostUid: number): Promise<Socket | null> {
  const path = placeOf(directory, control, hostUid)
  if (path === null) return Promise.resolve(null)
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => resolve(socket))
    socket.once('error', () => resolve(null))
  })
}

/** The two pipes of a machine without sockets, as one stream; null while it has none. */
export function reachPipes(directory: string, hostUid: number): Duplex | null {
  const [orders, answers] = [placeOf(directory, 'orders', hostUid), placeOf(directory, 'answers', hostUid)]
  const ready = lstatSync(`${directory}/${controls.ready}`, { throwIfNoEntry: false })
  if (orders === null || answers === null || (ready?.size ?? 0) === 0) return null
  const flags = constants.O_NONBLOCK | constants.O_NOFOLLOW
  const to = new Socket({ fd: openSync(orders, constants.O_WRONLY | flags), readable: false, writable: true })
  const from = new Socket({ fd: openSync(answers, constants.O_RDONLY | flags), readable: true, writable: false })
  const both = new Duplex({
    read: () => void from.resume(),
    write: (chunk: Buffer, _encoding, done) => void to.write(chunk, () => done()),
    destroy(error, done) {
      to.destroy()
      from.destroy()
      done(error)
    },
  })
  for (const stream of [to, from]) {
    stream.unref()
    stream.on('error', () => undefined)
    stream.on('close', () => both.destroy())
  }
  const mark = encodeFrame('N', randomInt(1, 2 ** 31))
  const take = fromMark(mark)
  to.write(mark)
  from.on('data', (chunk: Buffer) => {
    const taken = take(chunk)
    if (taken.length > 0 && !both.push(taken)) from.pause()
  })
  return both
}

/**
 * What pipes hold may be what an earlier supervisor did not read: the guest is asked to say a mark back, and all up to it is
 * passed over.
 */
function fromMark(mark: Buffer): (chunk: Buffer) => Buffer {
  let before: Buffer | null = Buffer.alloc(0)
  return (chunk) => {
    if (before === null) return chunk
    const all: Buffer = Buffer.concat([before, chunk])
    const at = all.indexOf(mark)
    before = at < 0 ? all.subarray(-mark.length) : null
    return at < 0 ? Buffer.alloc(0) : all.subarray(at + mark.length)
  }
}

/** What a machine told of its program's end; empty when it told nothing. */
export function readExit(directory: string): string {
  let file: number
  try {
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
    file = openSync(`${directory}/${controls.exit}`, flags)
  } catch {
    return ''
  }
  try {
    const said = Buffer.alloc(exitBytesMax)
    return fstatSync(file).isFile() ? said.toString('latin1', 0, readSync(file, said)) : ''
  } finally {
    closeSync(file)
  }
}

function isRoot(): boolean {
  return process.getuid?.() === 0
}
