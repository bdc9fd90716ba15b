/** Answers what is asked about queues, by asking the node that serves them. Invariant: only resources of type queue are asked. */
import { SteadError } from '../base/index.ts'
import type { Json } from '../base/index.ts'
import type { Graph } from '../model/index.ts'
import type { QueueLetter, QueueName, QueueOperations, QueueStanding } from '../operator/index.ts'
import type { QueueOrder } from '../queue/index.ts'
import type { Platform } from './platform.ts'

/** Loaded when somebody asks: the process that answers stays for months. */
async function answers(): Promise<typeof import('../queue/index.ts').queueAnswers> {
  return (await import('../queue/index.ts')).queueAnswers
}

/** `viewOf`: what is known of an app; throws when there is none. */
export function queueOperations(
  { administer }: Pick<Platform, 'administer'>,
  viewOf: (app: string) => { readonly graph: Graph },
): QueueOperations {
  const queuesOf = (app: string): readonly string[] =>
    viewOf(app).graph.parts.flatMap((part) => (part.kind === 'resource' && part.type === 'queue' ? [part.name] : []))
  const ask = async (app: string, part: string, order: QueueOrder): Promise<Json> => {
    const queues = queuesOf(app)
    if (queues.includes(part)) return administer(app, part, { ...order })
    throw new SteadError({
      code: 'cli.unknown-part',
      message: `${app} has no queue called ${part}`,
      hint: queues.length === 0 ? 'It has none.' : `It has: ${queues.join(', ')}.`,
    })
  }
  const nameOf = ({ part, queue }: QueueName): string => queue ?? part
  return {
    async list(app, part) {
      const parts = part === null ? queuesOf(app) : [part]
      const found = parts.map(async (one): Promise<QueueStanding[]> => {
        return (await answers())
          .list(await ask(app, one, { do: 'list' }))
          .map((standing) => ({ part: one, ...standing }))
      })
      return (await Promise.all(found)).flat()
    },
    async peek(app, of, shelf, max): Promise<readonly QueueLetter[]> {
      return (await answers()).peek(await ask(app, of.part, { do: 'peek', queue: nameOf(of), shelf, max }))
    },
    async redrive(app, of, ids, max) {
      return (await answers()).count(await ask(app, of.part, { do: 'redrive', queue: nameOf(of), ids, max }))
    },
    async pause(app, of, paused) {
      const order: QueueOrder = { do: paused ? 'pause' : 'resume', queue: nameOf(of) }
      return (await answers()).paused(await ask(app, of.part, order))
    },
    async purge(app, of, shelf) {
      return (await answers()).count(await ask(app, of.part, { do: 'purge', queue: nameOf(of), shelf }))
    },
  }
}
