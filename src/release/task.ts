/** The task for the node with the data, in every step. Invariant: the same record asks for the same task. */
import { checkpointName, cloneName, contractCheckpointName, rehearsalName, taskId } from './names.ts'
import type { Rollout, Task } from './rollout.ts'
import { stepAfter } from './steps.ts'

/** What is asked of the node with the data now; null: nothing. */
export function taskOf(rollout: Rollout): Task | null {
  if (rollout.outcome !== null) return null
  const id = taskId(rollout, rollout.step)
  if (rollout.kind === 'deploy') {
    if (rollout.step === 'rehearse') return { kind: 'rehearse', id, copy: rehearsalName(rollout.new) }
    if (rollout.step === 'checkpoint') return { kind: 'checkpoint', id, name: checkpointName(rollout.new) }
    const guards = rollout.step === 'confirm' && rollout.hasData && stepAfter(rollout, 'confirm') === 'contract'
    return guards ? { kind: 'checkpoint', id, name: contractCheckpointName(rollout.new) } : null
  }
  const { checkpoint, branch } = rollout
  if (checkpoint === null || branch === null) return null
  if (rollout.step === 'prepare') return { kind: 'clone', id, name: cloneName(rollout.new), from: checkpoint }
  return rollout.step === 'report' ? { kind: 'report', id, before: checkpoint, after: branch } : null
}
