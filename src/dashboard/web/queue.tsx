/** What is in a queue: its counts. */
import type { JSX } from 'preact'
import type { PartView } from './parts.ts'
import { age } from './words.ts'

/** What a node of the graph says of a queue beside its state; null where there is nothing to say. */
export function queueWord(metrics: PartView['metrics']): string | null {
  const waiting = (metrics['queue_ready'] ?? 0) + (metrics['queue_delayed'] ?? 0)
  const dead = metrics['queue_dead'] ?? 0
  if (metrics['queue_ready'] === undefined || waiting + dead === 0) return null
  return dead > 0 ? `${dead} dead` : `${waiting} wait`
}

export function QueueFacts({ part: { metrics } }: { readonly part: PartView }): JSX.Element | null {
  const ready = metrics['queue_ready']
  if (ready === undefined) return null
  const of = (name: string): number => metrics[name] ?? 0
  const oldest = of('queue_oldest_seconds') * 1000
  const more = [
    of('queue_paused') > 0 ? 'paused: nothing is handed out' : null,
    of('queue_delayed') > 0 ? `${of('queue_delayed')} delayed` : null,
    of('queue_held') > 0 ? `${of('queue_held')} in hand` : null,
  ].filter((word) => word !== null)
  return (
    <>
      <div>
        <dt>Waiting</dt>
        <dd class="number">{ready === 0 ? '0' : `${ready}, the oldest for ${age(oldest)}`}</dd>
      </div>
      {more.length > 0 && (
        <div>
          <dt>Besides</dt>
          <dd class="number">{more.join(', ')}</dd>
        </div>
      )}
      <div>
        <dt>Dead letters</dt>
        <dd class={of('queue_dead') > 0 ? 'number tone-bad' : 'number'}>
          {of('queue_dead') > 0 && <i class="dot" />}
          {of('queue_dead')}
        </dd>
      </div>
      <div>
        <dt>Receivers</dt>
        <dd class="number">{of('queue_receivers') === 0 ? 'none waits' : `${of('queue_receivers')} wait`}</dd>
      </div>
    </>
  )
}
