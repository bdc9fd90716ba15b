/**
 * The agent's plan on disk: with it the agent starts and keeps everything running while control is out of reach. It holds
 * credentials, so it is sealed with the node's own key, which lies in a file of its own.
 * Invariant: the file is always one whole plan, the last one written or the one before, and never in plain text.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { messageOf, SteadError, systemCodeOf } from '../base/index.ts'
import { type Plan, planSchema } from '../protocol/index.ts'
import type { Box } from '../secrets/index.ts'

const format = 1
const what = 'plan'

/** Reads the plan; null when there is none yet. One in plain text, of an earlier release, is sealed. Throws `agent.corrupt-plan`. */
export function readPlan(path: string, box: Box): Plan | null {
  try {
    const found: unknown = JSON.parse(readFileSync(path, 'utf8'))
    const isSealed = typeof found === 'object' && found !== null && 'sealed' in found
    const plan = planSchema.parse(isSealed ? JSON.parse(box.open(what, found.sealed)) : found)
    if (!isSealed) writePlan(path, plan, box)
    return plan
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

/** Writes the plan so that it survives a crash at any moment. Readable by its owner only. */
export function writePlan(path: string, plan: Plan, box: Box): void {
  const fresh = `${path}.new`
  const fd = openSync(fresh, 'w', 0o600)
  try {
    const { epoch, revision } = plan
    // Epoch and revision are there to be looked at; what counts is what is sealed.
    writeSync(fd, JSON.stringify({ format, epoch, revision, sealed: box.seal(what, JSON.stringify(plan)) }))
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
