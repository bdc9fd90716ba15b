/**
 * What a program inside a sandbox reads from and writes to: a pseudo-terminal of the sandbox's own /dev/pts, so that the
 * program finds it under its name; or a pipe that belongs to the program's user, so that it can be opened again as
 * /dev/stdout. The few calls that Node does not have go through node:ffi; no other program stands in between.
 */
import { chownSync, closeSync, constants, fchownSync, openSync } from 'node:fs'
import { Socket } from 'node:net'
import { ReadStream } from 'node:tty'
import { SteadError } from '../../base/index.ts'
import type { TerminalSize } from '../driver.ts'

const unlock = 0x40045431n
const numberOf = 0x80045430n
const setSize = 0x5414n
const closeOnExec = 0o2000000

export interface Terminal extends Disposable {
  /** Descriptor of the end that the program gets; close it once the program has it. */
  readonly slave: number
  /** What the program prints, and where its input is written. Ends when nobody has the other end any more. */
  readonly master: ReadStream
  resize(size: TerminalSize): void
}

/** Whether terminals can be made: they need node:ffi, which came with Node 26. */
export function canMakeTerminals(): boolean {
  return process.platform === 'linux' && (process.getBuiltinModule('node:ffi') ?? null) !== null
}

/** Makes a terminal in the sandbox of a process, owned by its user. Throws `sandbox.exec-failed`. */
export function makeTerminal(pid: number, hostUid: number, size: TerminalSize): Terminal {
  const ffi = process.getBuiltinModule('node:ffi')
  const { functions: c } = ffi.dlopen('libc.so.6', {
    ioctl: { return: 'i32', arguments: ['i32', 'u64', 'pointer'] },
  })
  const pts = `/proc/${pid}/root/dev/pts`
  const fd = openSync(`${pts}/ptmx`, constants.O_RDWR | constants.O_NOCTTY)
  const call = (request: bigint, words: ArrayBuffer): void => {
    if (c.ioctl(fd, request, words) === 0) return
    throw new SteadError({
      code: 'sandbox.exec-failed',
      message: `No terminal could be made in the sandbox (${request}).`,
    })
  }
  const resize = ({ columns, rows }: TerminalSize): void => call(setSize, new Uint16Array([rows, columns, 0, 0]).buffer)
  try {
    call(unlock, new Int32Array([0]).buffer)
    const number = new Uint32Array(1)
    call(numberOf, number.buffer)
    const name = `${pts}/${number[0]}`
    chownSync(name, hostUid, hostUid)
    resize(size)
    const slave = openSync(name, constants.O_RDWR | constants.O_NOCTTY)
    const master = new ReadStream(fd)
    return {
      slave,
      master,
      resize(next) {
        if (!master.destroyed) resize(next)
      },
      [Symbol.dispose]: () => void master.destroy(),
    }
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/** One end for the program, as a descriptor to be closed once the program has it, the other as a stream. */
export interface Pipe {
  readonly end: number
  readonly stream: Socket
}

/** A pipe that the program reads from or writes to. Throws `sandbox.exec-failed`. */
export function makePipe(program: 'reads' | 'writes', hostUid: number): Pipe {
  const ffi = process.getBuiltinModule('node:ffi')
  const { functions: c } = ffi.dlopen('libc.so.6', { pipe2: { return: 'i32', arguments: ['pointer', 'i32'] } })
  const ends = new Int32Array(2)
  if (c.pipe2(ends.buffer, closeOnExec) !== 0)
    throw new SteadError({ code: 'sandbox.exec-failed', message: 'No pipe could be made.', retry: 'later' })
  const [readEnd = -1, writeEnd = -1] = ends
  fchownSync(readEnd, hostUid, hostUid)
  return program === 'reads'
    ? { end: readEnd, stream: new Socket({ fd: writeEnd, readable: false, writable: true }) }
    : { end: writeEnd, stream: new Socket({ fd: readEnd, readable: true, writable: false }) }
}
