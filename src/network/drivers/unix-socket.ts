/**
 * Streams to sockets in directories that belong to somebody else. Invariant: what is connected to is what was looked at: a
 * socket of its directory's owner, never what a link leads to. We may open sockets that the owner may not, and the owner
 * could put a link to one of them in the place of its own.
 */
import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs'
import { Socket } from 'node:net'
import { dirname } from 'node:path'
import { SteadError } from '../../base/index.ts'

/** Opens a descriptor that only names a file. */
const nameOnly = 0o10000000

/** Opens a stream to a socket file. Never throws: what cannot be had is a stream that fails. */
export function connectUnix(path: string): Socket {
  if (process.platform !== 'linux') return new Socket().connect(path)
  try {
    const fd = openSync(path, nameOnly | constants.O_NOFOLLOW)
    try {
      const found = fstatSync(fd)
      if (!found.isSocket() || found.uid !== statSync(dirname(path)).uid) return failing(notTheirs(path))
      // Connects before it returns; the name leads to the very file that was looked at.
      return new Socket().connect(`/proc/self/fd/${fd}`)
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    return failing(error instanceof Error ? error : new Error(String(error)))
  }
}

function notTheirs(path: string): SteadError {
  return new SteadError({
    code: 'network.not-a-socket',
    message: `${path} is not a socket of the owner of its directory, so nothing is connected to it`,
    hint: 'Something was put in its place: look at who may write there.',
  })
}

function failing(error: Error): Socket {
  const socket = new Socket()
  setImmediate(() => socket.destroy(Object.assign(error, { syscall: 'connect' })))
  return socket
}
