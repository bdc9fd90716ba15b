/** Makes a server listen. */
import type { Server } from 'node:net'

/** Resolves when it listens. */
export function listenOn(server: Server, where: { fd: number } | { port: number; host: string }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(where, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
