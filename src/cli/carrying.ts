/** Carries what a person types, and what comes back, over a stream to something that runs. */
import type { RemoteStream, StreamEnd } from '../protocol/index.ts'

/** Of a terminal that nobody sees. */
export const sizeUnseen: { readonly columns: number; readonly rows: number } = { columns: 80, rows: 24 }

/** Of the terminal in front of this program; null where there is none. */
export function sizeOfTerminal(): { columns: number; rows: number } | null {
  const { columns, rows, isTTY } = process.stdout
  return isTTY && columns > 0 && rows > 0 ? { columns, rows } : null
}

/** What somebody has left goes on without him. */
const left: StreamEnd = { code: 0, signal: null, sentence: 'was left' }

/**
 * Carries input and output until it has ended. With `leaveAt`, that character typed alone ends it: for what has no end of
 * its own.
 */
export async function carry(stream: RemoteStream, terminal: boolean, leaveAt?: string): Promise<StreamEnd> {
  const { stdin, stdout, stderr } = process
  const raw = terminal && stdin.isTTY
  const resize = (): void => {
    const size = sizeOfTerminal()
    if (size !== null) stream.resize(size)
  }
  // Without a terminal of its own, Ctrl-C is for this command, and takes the program with it.
  const close = (): void => stream.close()
  if (raw) stdin.setRawMode(true)
  if (terminal) stdout.on('resize', resize)
  process.once('SIGINT', close)
  process.once('SIGTERM', close)
  let hasLeft = false
  const leave = (): void => {
    hasLeft = true
    stream.close()
  }
  const typing = type(stream, leaveAt, leave)
  typing.catch(close)
  try {
    for await (const { to, bytes } of stream.pieces) await write(to === 'out' ? stdout : stderr, bytes)
    return await stream.ended
  } catch (error) {
    if (hasLeft) return left
    throw error
  } finally {
    if (raw) stdin.setRawMode(false)
    stdout.off('resize', resize)
    // Nobody reads any more what is typed.
    stdin.destroy()
    stream.close()
  }
}

async function type(stream: RemoteStream, leaveAt: string | undefined, leave: () => void): Promise<void> {
  try {
    for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
      if (leaveAt !== undefined && chunk.toString('latin1') === leaveAt) return leave()
      await stream.write(chunk)
    }
    stream.end()
  } catch {
    // Destroyed at the end of it all.
  }
}

/** Resolves when there is room for more. */
function write(to: NodeJS.WriteStream, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => to.write(bytes, (error) => (error ? reject(error) : resolve())))
}
