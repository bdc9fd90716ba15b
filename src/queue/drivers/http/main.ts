/**
 * The program of a server of queues, for whoever runs one in a sandbox: its options come as JSON in the environment, it says
 * one line when it answers, and ends by SIGTERM when everything that was accepted is on the disk.
 */
import { systemClock, systemRandom } from '../../../base/index.ts'
import { QueueService } from './service.ts'
import type { QueueServiceOptions } from './service.ts'

const text = process.env['STEAD_QUEUE'] ?? ''
// Nothing that is started from here on, and nobody who looks at this process, is to see it.
delete process.env['STEAD_QUEUE']
const options = JSON.parse(text) as QueueServiceOptions
try {
  const service = await QueueService.start(options, systemClock, systemRandom)
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.once(signal, () => void service[Symbol.asyncDispose]().then(() => process.exit(0)))
  console.log(`queues answer at ${options.socketPath}`)
} catch (error) {
  // One sentence for a person: this is what the platform shows.
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
