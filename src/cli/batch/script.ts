/**
 * Submits a script for Slurm. Invariant: it sees the directory that it is submitted from, as its users expect, and of the
 * variables here only those that were named: what is submitted is kept, and secrets are not to be kept.
 */
import { readFileSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { messageOf } from '../../base/index.ts'
import { readSbatch, type ScriptOption, type Submission, submissionDefaults } from '../../batch/index.ts'
import { type Input, usage } from '../command.ts'
import { note } from '../terminal.ts'
import { submissionOf } from './submission.ts'

/** More than any script may have. */
const inputBytesMax = 1024 * 1024

/** Passed where they are set: they say how, not who. */
const passedAlways = ['LANG', 'LC_ALL', 'TZ', 'OMP_NUM_THREADS']

/** What is submitted for a script, with options of `stead job submit`. Throws `cli.usage`, `batch.bad-script`. */
export function scriptIn(path: string, args: readonly string[], input: Input): Submission {
  const submission = readScript({ name: path, text: scriptText(path) }, args, [])
  const access = accessOf(input, submission.cwd, path)
  return submissionOf(input, submission.argv, { ...submission, ...access })
}

/** What is submitted for a script, with options of Slurm that go before its own. Throws `batch.bad-script`. */
export function sbatchSubmission(
  script: Script,
  args: readonly string[],
  options: readonly ScriptOption[],
): Submission {
  const submission = readScript(script, args, options)
  return { ...submissionDefaults, ...submission, ...accessTo(submission.cwd, script.name) }
}

interface Script {
  /** How it is called where something is said of it, and the job after it. */
  readonly name: string
  readonly text: string
}

function readScript({ name, text }: Script, args: readonly string[], options: readonly ScriptOption[]): Read {
  const { submission, passes, notes } = readSbatch(text, args, process.cwd(), options)
  for (const one of notes) note(`stead: ${name}: ${one}`)
  const env = { ...variables([...passedAlways, ...passes]), ...submission.env }
  return { ...submission, name: submission.name === 'script' ? basename(name) : submission.name, env }
}

type Read = ReturnType<typeof readSbatch>['submission']

/** A script that comes in. Throws `cli.usage`. */
export async function textOfInput(): Promise<string> {
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of process.stdin) {
    bytes += (piece as Buffer).length
    if (bytes > inputBytesMax) throw usage(`what comes in is longer than ${inputBytesMax} bytes`, 'Is it a script?')
    pieces.push(piece as Buffer)
  }
  return Buffer.concat(pieces).toString()
}

/** Throws `cli.usage`. */
export function scriptText(path: string): string {
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
