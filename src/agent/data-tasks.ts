/** What a node does with the data of an app when control asks. Invariant: every task can be asked for again. */
import type { DataAnswers, DataCopy, DataTask } from '../protocol/index.ts'
import { SteadError } from '../base/index.ts'
import type { DomainCopy } from '../domain/index.ts'
import type { Domains } from './domains.ts'

/** Does a task and answers what came of it. Throws as the domain does. */
export async function dataTask(domains: Domains, app: string, task: DataTask): Promise<DataAnswers[keyof DataAnswers]> {
  const domain = await domains.of(app)
  if (task.do === 'state') {
    const usage = await domain.usage()
    const copies = (await domain.list()).map(seen)
    return { generation: domain.generation, driver: domain.capabilities.instant ? 'instant' : 'copy', ...usage, copies }
  }
  throw new SteadError({ code: 'agent.data-task', message: `this node cannot ${task.do}`, hint: 'Upgrade it.' })
}

function seen({ name, kind, createdAtMs, generation }: DomainCopy): DataCopy {
  return { name, kind, createdAtMs, generation, ownBytes: null }
}
