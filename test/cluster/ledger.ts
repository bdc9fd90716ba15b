/** The provider of a resource for tests: a server on a Unix socket that sends one line to whoever connects. */
import { connect } from 'node:net'
import { join } from 'node:path'
import { sleep } from '../../src/base/index.ts'
import type { Provider } from '../../src/provider/index.ts'

/** What its consumers dial. */
export const ledgerPort = 7000

const server = `
import os, socket, sys
path = sys.argv[1]
if os.path.exists(path): os.unlink(path)
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
os.chmod(path, 0o777)
listener.listen()
while True:
    stream, _ = listener.accept()
    stream.sendall(b"ledger\\n")
    stream.close()
`

export function ledgerProvider(): Provider {
  const nothing = async (): Promise<void> => {}
  const socketPath = (socketDir: string): string => join(socketDir, 's')
  return {
    type: 'ledger',
    port: ledgerPort,
    capabilities: { quiesce: 'none', diff: 'refused' },
    provision: async ({ socketDir }) => ({
      argv: ['/usr/bin/python3', '-c', server, socketPath(socketDir)],
      env: {},
      reads: [],
      writes: [],
      memoryBytes: 128 * 1024 * 1024,
      socketPath: socketPath(socketDir),
      stopSignal: 'SIGTERM',
      stopTimeoutMs: 2000,
    }),
    async ready({ socketDir, clock }, timeoutMs) {
      for (const untilMs = clock.monotonicMs() + timeoutMs; ; await sleep(clock, 50)) {
        const socket = connect(socketPath(socketDir))
        const answers = await new Promise<boolean>((resolve) => {
          socket.once('data', () => resolve(true)).once('error', () => resolve(false))
        })
        socket.destroy()
        if (answers) return
        if (clock.monotonicMs() > untilMs) throw new Error('the ledger does not answer')
      }
    },
    prepare: () => Promise.resolve({ schema: null }),
    grant: nothing,
    revoke: nothing,
    bind: (_resource, _grant, { host, port }) => ({ env: { ADDRESS: `${host}:${port}` }, files: [] }),
    quiesce: () => Promise.resolve({ [Symbol.asyncDispose]: nothing }),
    recover: nothing,
    diff: () => Promise.resolve({ items: [], exact: false }),
    metrics: () => Promise.resolve([]),
  }
}
