/**
 * Names of copies and ids of tasks. Invariant: they follow from the number of a release or the id of a rollout alone, so
 * that asking for the same thing again after a crash finds what is there.
 */

/** The checkpoint of before release `number` took effect. */
export function checkpointName(number: number): string {
  return `before-${number}`
}

/** The checkpoint of before the second halves of release `number`. */
export function contractCheckpointName(number: number): string {
  return `contract-${number}`
}

/** The writable copy that becomes the live data when release `number`, a return, takes effect. */
export function cloneName(number: number): string {
  return `return-${number}`
}

/** What was live until release `number`, a return, took effect. */
export function branchName(number: number): string {
  return `left-by-${number}`
}

/** The copy on which release `number` is rehearsed. */
export function rehearsalName(number: number): string {
  return `rehearse-${number}`
}

/** Whether a copy has one of the names that rollouts give, so that it can go when it is not needed any more. */
export function isOwnName(name: string): boolean {
  return /^(?:before|contract|return|left-by|rehearse)-[1-9]\d*$/.test(name)
}

/** The id of the task that a rollout has in a step. */
export function taskId(rollout: { readonly id: string }, step: string): string {
  return `${rollout.id}.${step}`
}
