/** The process of the agent: looks at the machine and keeps the plan running. */
import { describe, lookAtMachine } from '../machine.ts'
import { startAgentRole } from '../roles/agent.ts'
import { version } from '../version.ts'
import { claim, claimPath, release, takeOver } from './claim.ts'
import { writeDescription } from './description.ts'
import { graceMs, type RoleContext } from './context.ts'

export async function runAgent({ home, domain, stopped, say }: RoleContext): Promise<void> {
  const path = claimPath(home, 'agent')
  const machine = await lookAtMachine(home, domain)
  writeDescription(home, describe(machine))
  await takeOver(path, graceMs)
  claim(path, version)
  const agent = await startAgentRole(home, machine, say)
  await stopped
  const { handedOver } = await agent.leave()
  release(path)
  await handedOver
}
