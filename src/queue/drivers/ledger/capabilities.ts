/**
 * What the two drivers on the ledger can do, which differ in one thing, what is on a disk; and what PostgreSQL's tables can do
 * alike.
 */
import { emulated, native, refused } from '../../capability.ts'
import type { Capabilities } from '../../capability.ts'

export const ledgerCapabilities: Omit<Capabilities, 'durable-send' | 'generations'> = {
  'batch-send': native,
  headers: native,
  'binary-body': native,
  'delayed-send': native,
  priority: native,
  'dedup-key': native,
  'ordering-key': native,
  'order-after-retry': native,
  lease: native,
  'lease-extension': native,
  'steady-lease': native,
  fencing: native,
  'attempt-count': native,
  retry: native,
  'delayed-retry': native,
  'uncounted-retry': native,
  'dead-letter': native,
  redrive: native,
  counts: native,
  peek: native,
  purge: native,
  backpressure: native,
  'no-silent-loss': native,
  'request-reply': emulated('a queue for the answers of each process'),
}

export const embeddedCapabilities: Capabilities = { ...ledgerCapabilities, 'durable-send': native, generations: native }

const gone = 'memory ends with the process'
const instead = 'Use the embedded queues.'

export const memoryCapabilities: Capabilities = {
  ...ledgerCapabilities,
  'durable-send': refused(gone, instead),
  generations: refused(gone, instead),
}
