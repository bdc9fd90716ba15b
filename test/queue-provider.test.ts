/** Queues against the suite of providers: the server from a tree of the bundle store, as the platform runs it. */
import { join } from 'node:path'
import { createBundleStore } from '../src/artifact/index.ts'
import { systemClock } from '../src/base/index.ts'
import { ownPrograms } from '../src/cli/own-programs.ts'
import type { Binding } from '../src/provider/index.ts'
import { providerConformance } from '../src/provider/conformance.ts'
import type { ProviderSubject, TestClient, TestHost } from '../src/provider/conformance.ts'
import { json, openHttpQueues, queueProvider } from '../src/queue/index.ts'
import { processDriver } from '../src/sandbox/index.ts'

async function subject(host: TestHost): Promise<ProviderSubject> {
  const bundles = await createBundleStore({ root: join(host.dir, 'bundles'), clock: systemClock })
  const { capabilities } = processDriver({ clock: systemClock, groups: null })
  // Other users run the programs here, so that they are copied as for a sandbox.
  const own = ownPrograms(bundles, { capabilities: { ...capabilities, isolation: 'native' } })
  return {
    provider: queueProvider({ own }),
    config: {},
    filesDir: null,
    connect,
    connectionsMetric: 'queue_connections',
  }
}

/** A consumer with nothing but its binding: items are messages. */
async function connect(binding: Binding): Promise<TestClient> {
  const queues = await openHttpQueues({ url: binding.env['QUEUE_URL'] ?? '', patienceMs: 0 })
  const queue = await queues.declare('db', json)
  return {
    write: async (item) => void (await queue.send(item)),
    async items() {
      const held = []
      for (;;) {
        const messages = await queue.receive({ max: 1000 })
        if (messages.length === 0) break
        held.push(...messages)
      }
      await Promise.all(held.map((message) => message.retry({ countAsFailure: false })))
      return held.map(({ value }) => Number(value)).toSorted((a, b) => a - b)
    },
    [Symbol.asyncDispose]: () => queues.close(),
  }
}

providerConformance('queue', subject)
