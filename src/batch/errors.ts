/** The errors of submitted jobs; README.md says when each is thrown. */
import { SteadError } from '../base/index.ts'
import type { QueueRecord } from './records.ts'

/** Nodes that are named in an error. */
const namedMax = 10

export function unknownJob(id: number): SteadError {
  return new SteadError({
    code: 'batch.unknown-job',
    message: `there is no job ${id}`,
    hint: '`stead job ls --all` shows those that are remembered.',
  })
}

export function unknownTask(job: number, index: number): SteadError {
  return new SteadError({
    code: 'batch.unknown-task',
    message: `job ${job} has no task ${index}`,
    hint: `\`stead job ls ${job}\` shows its tasks.`,
  })
}

export function unknownQueue(name: string, known: readonly string[]): SteadError {
  return new SteadError({
    code: 'batch.unknown-queue',
    message: `there is no queue called ${name}`,
    hint: `There is: ${known.join(', ')}. \`stead job queue ${name} --priority 0\` makes one.`,
  })
}

export function unknownNode(name: string, known: readonly { readonly node: string }[]): SteadError {
  const names = known.slice(0, namedMax).map(({ node }) => node)
  return new SteadError({
    code: 'batch.unknown-node',
    message: `there is no node called ${name}`,
    hint: `There is: ${names.join(', ')}${known.length > namedMax ? ', ...' : ''}. \`stead job node\` shows them.`,
  })
}

export function tooMany(what: string, max: number): SteadError {
  return new SteadError({
    code: 'batch.too-many',
    message: `there are ${max} ${what} already`,
    hint: 'Wait until some have ended, or submit an array.',
    retry: 'later',
  })
}

export function manyNodes(max: number): SteadError {
  return new SteadError({
    code: 'batch.too-many',
    message: `a reservation is of at most ${max} nodes`,
    hint: 'Name fewer of them, or make several reservations.',
  })
}

export function tooLong({ name, timeLimitMs }: QueueRecord): SteadError {
  return new SteadError({
    code: 'batch.too-long',
    message: `jobs of the queue ${name} may run for at most ${(timeLimitMs ?? 0) / 60_000} minutes`,
    hint: 'Say a shorter --time, or take another queue: `stead job queue` shows them.',
  })
}

export function noNode(): SteadError {
  return new SteadError({
    code: 'batch.no-node',
    message: 'no node that runs jobs has been heard of yet',
    hint: 'Try again in a moment; `stead status` shows the nodes.',
    retry: 'later',
  })
}
