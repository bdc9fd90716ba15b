/** Opens queues on Valkey, in the thread where they run: asks the server how it keeps what it confirms, and says what follows. */
import { systemClock } from '../../../base/index.ts'
import { emulated, native, refused } from '../../capability.ts'
import type { Capabilities } from '../../capability.ts'
import type { QueueDriver } from '../../driver.ts'
import { keepingLeases } from '../../keeper.ts'
import { prefixed } from '../prefixed.ts'
import { Bells, ValkeyDriver } from './driver.ts'
import { ValkeyLink } from './link.ts'
import type { ValkeyFacts } from './link.ts'

export interface ValkeyHostOptions {
  readonly url: string
  readonly messagesMax: number | null
  readonly prefix: string
}

export async function openValkeyHost({ url, messagesMax, prefix }: ValkeyHostOptions): Promise<QueueDriver> {
  const bells = new Bells()
  const link = new ValkeyLink(url, (base) => bells.ring(base))
  const facts = await link.facts()
  const driver = new ValkeyDriver({
    link,
    server: facts.server,
    capabilities: capabilitiesOf(facts, messagesMax),
    durability: facts.durability,
    messagesMax,
    bells,
    clock: systemClock,
  })
  return keepingLeases(prefixed(driver, prefix), systemClock)
}

function capabilitiesOf({ durability, kept }: ValkeyFacts, messagesMax: number | null): Capabilities {
  return {
    'durable-send':
      durability === 'fsync' ? native : refused(kept, 'Set appendonly yes and appendfsync always on the server.'),
    'batch-send': native,
    headers: emulated('in the body, which other programs see with a line before it'),
    'binary-body': native,
    'delayed-send': native,
    priority: native,
    'dedup-key': native,
    'ordering-key': native,
    'order-after-retry': native,
    lease: emulated("by the server's clock; setting it forward ends leases"),
    'lease-extension': native,
    'steady-lease': native,
    fencing: native,
    'attempt-count': native,
    retry: native,
    'delayed-retry': native,
    'uncounted-retry': native,
    'dead-letter': native,
    redrive: emulated('of the first 1000 dead ones'),
    counts: native,
    peek: native,
    purge: native,
    backpressure:
      messagesMax === null
        ? refused("without a limit a queue takes the server's memory", 'Open the queues with messagesMax.')
        : native,
    'no-silent-loss': native,
    'request-reply': emulated('a queue for the answers of each process'),
    generations: refused('the server knows nothing of the data', 'Use the embedded queues or PostgreSQL.'),
  }
}
