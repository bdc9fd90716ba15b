/** What an operator asks of a resource that serves. Invariant: only the live resource of the app that is named is asked. */
import type { DataAnswers, DataTask } from '../protocol/index.ts'
import { type DataNeed, refused } from './data-need.ts'

/** Throws `agent.data-refused`, `agent.not-serving`, and what the provider throws. */
export async function operate(
  { options, resources }: Pick<DataNeed, 'options' | 'resources'>,
  app: string,
  { part, order }: Extract<DataTask, { do: 'operate' }>,
): Promise<DataAnswers['operate']> {
  const runner = [...resources.values()].find(({ assignment }) => {
    return assignment.app === app && assignment.part === part && assignment.wanted
  })
  if (runner === undefined) throw refused(`${app} has no resource called ${part} here`, 'See `stead status`.')
  const provider = options.providers.get(runner.assignment.type)
  if (provider?.operate === undefined)
    throw refused(`nothing can be asked of ${part}, which is a ${runner.assignment.type}`, 'Use it as its users do.')
  return { answer: await provider.operate(await runner.liveContext(), order) }
}
