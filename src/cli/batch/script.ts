/**
 * Submits a script for Slurm. Invariant: it sees the directory that it is submitted from, as its users expect, and of the
 * variables here only those that were named: what is submitted is kept, and secrets are not to be kept.
 */
import { readFileSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { messageOf } from '../../base/index.ts'
import { readSbatch, type Submission } from '../../batch/index.ts'
import { type Input, usage } from '../command.ts'
import { note } from '../terminal.ts'
import { submissionOf } from './submission.ts'

/** Passed where they are set: they say how, not who. */
const passedAlways = ['LANG', 'LC_ALL', 'TZ', 'OMP_NUM_THREADS']

/** What is submitted for a script. Throws `cli.usage`, `batch.bad-script`. */
export function scriptIn(path: string, args: readonly string[], input: Input): Submission {
  const { submission, passes, notes } = readSbatch(textOf(path), args, process.cwd())
  for (const one of notes) note(`stead: ${path}: ${one}`)
  const env = { ...variables([...passedAlways, ...passes]), ...submission.env }
  const name = submission.name === 'script' ? basename(path) : submission.name
  const access = accessOf(input, submission.cwd, path)
  return submissionOf(input, submission.argv, { ...submission, name, env, ...access })
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw usage(
      `the script ${path} cannot be read: ${messageOf(error)}`,
      'A program is given after --, as in `stead job submit -- PROGRAM`.',
    )
  }
}

function variables(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = process.env[name]
      return value === undefined ? [] : [[name, value] as const]
    }),
  )
}

/** On a server there is no directory that it was submitted from. */
function accessOf(input: Input, cwd: string, path: string): Partial<Submission> {
  if (input.text('on') !== null) return { cwd: '/tmp' }
  return input.text('isolation') === 'none' ? {} : accessTo(cwd, path)
}

/** It may write where it is, unless that is root's, as whom no job runs in a sandbox. */
function accessTo(cwd: string, path: string): Pick<Submission, 'reads' | 'writes'> {
  const isRoots = statSync(cwd, { throwIfNoEntry: false })?.uid === 0 && process.getuid?.() === 0
  if (!isRoots) return { reads: [], writes: [cwd] }
  note(`stead: ${path}: ${cwd} belongs to root, so the job can read it and not write; give it to a user to change that`)
  return { reads: [cwd], writes: [] }
}
