/**
 * One port on this machine's loopback for editors, for as long as a debugger is wanted. The protocol has no password, so the
 * kernel is asked who connects.
 *
 * Invariants: only programs of the same user, or of root, are served; one at a time.
 */
import { createServer, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { socketsAround } from './proc.ts'

export interface DapServer extends AsyncDisposable {
  readonly port: number
  /** Settles when a client has said goodbye; rejects with what ended a session. */
  readonly finished: Promise<void>
}

const host = '127.0.0.1'

/** Listens. `serve` has a session with one client and answers whether it said goodbye. Refused clients are told to `onRefused`. */
export async function openDapServer(
  serve: (client: Duplex) => Promise<boolean>,
  onRefused: (why: string) => void,
): Promise<DapServer> {
  const finished = Promise.withResolvers<void>()
  const clients = new Set<Socket>()
  let busy = false
  const session = async (client: Socket): Promise<void> => {
    busy = true
    try {
      if (await serve(client)) finished.resolve()
    } catch (error) {
      finished.reject(error)
    } finally {
      busy = false
      client.destroy()
    }
  }
  const server = createServer({ noDelay: true, pauseOnConnect: true }, (client) => {
    clients.add(client)
    client.on('close', () => clients.delete(client))
    client.on('error', () => undefined)
    const refusal = busy ? 'an editor is connected already' : strangerRefusal(client)
    if (refusal === null) return void session(client)
    onRefused(refusal)
    client.destroy()
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, host, resolve)
  })
  const address = server.address()
  // Whoever closes the server before anybody has asked how it ended is not interested.
  finished.promise.catch(() => undefined)
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    finished: finished.promise,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const client of clients) client.destroy()
      await closed
    },
  }
}

/** Null for a program of the same user, or of root. */
function strangerRefusal(client: Socket): string | null {
  const row = socketsAround(process.pid).find(
    ({ localPort, remotePort }) => localPort === client.remotePort && remotePort === client.localPort,
  )
  if (row === undefined) return 'a program connected that the kernel does not name'
  return row.uid === process.getuid?.() || row.uid === 0 ? null : `a program of user ${row.uid} was refused`
}
