/**
 * The agent's plan on disk: with it the agent starts and keeps everything running while control is out of reach.
 * Invariant: the file is always one whole plan, the last one written or the one before.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { messageOf, SteadError, systemCodeOf } from '../base/index.ts'
import { type Plan, planSchema } from '../protocol/index.ts'

/** Reads the plan; null when there is none yet. Throws `agent.corrupt-plan`. */
export function readPlan(path: string): Plan | null {
  try {
    return planSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch (cause) {
    if (systemCodeOf(cause) === 'ENOENT') return null
    throw new SteadError({
      code: 'agent.corrupt-plan',
      message: `the plan at ${path} cannot be read: ${messageOf(cause).split('\n')[0] ?? ''}`,
      hint: 'Delete the file: control sends the plan again as soon as it is reached.',
      cause,
    })
  }
}

/** Writes the plan so that it survives a crash at any moment. It holds credentials: readable by its owner only. */
export function writePlan(path: string, plan: Plan): void {
  const fresh = `${path}.new`
  const fd = openSync(fresh, 'w', 0o600)
  try {
    writeSync(fd, JSON.stringify(plan))
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  renameSync(fresh, path)
  const directory = openSync(dirname(path), 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}
