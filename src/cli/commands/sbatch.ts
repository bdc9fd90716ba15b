/**
 * `stead sbatch`: takes the words that people give to Slurm's sbatch, on the command line and in the script, and answers as it
 * does, so that scripts which submit jobs go on working. Invariant: what cannot be done is refused, like in a script.
 */
import { optionsOfWords, type ScriptOption } from '../../batch/index.ts'
import { exitOf, interrupted, waitFor } from '../batch/follow.ts'
import { sbatchSubmission, scriptText, textOfInput } from '../batch/script.ts'
import { type Command, usage } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { platformOfJobs } from '../target.ts'
import { print } from '../terminal.ts'

/** Options of the command alone: a script cannot have them. */
const ownOptions: ReadonlySet<string> = new Set(['wrap', 'wait', 'parsable', 'quiet'])

export const sbatchCommand: Command = {
  name: 'sbatch',
  usage: '[OPTION...] [SCRIPT [ARG...]]',
  summary: "submit a script for Slurm, with the words of Slurm's sbatch",
  help: `  Options are those of sbatch, on the command line, then in the script (docs/howto/run-jobs.md says which). Without a script
  it is read from what comes in: sbatch <<END. What is not supported is refused with the reason.
  --wrap COMMAND    instead of a script
  --parsable        print the number of the job alone
  -W, --wait        wait until it has ended, and end with its exit code
  Everything else of jobs: stead job
  Example: job=$(stead sbatch --parsable --array=0-99%8 prepare.sh); stead sbatch --dependency=afterok:$job train.sh`,
  options: {},
  argumentsMax: 10_000,
  takesWords: true,
  async run({ arguments: words }) {
    const { options, rest } = optionsOfWords(words)
    const has = (name: string): boolean => options.some((option) => option.name === name)
    const wrapped = options.findLast(({ name }) => name === 'wrap')
    const passed = options.filter(({ name }) => !ownOptions.has(name))
    const submission = await submissionOf(wrapped, rest, passed)
    const batch = await platformOfJobs(null)
    const id = await batch.submit(submission)
    if (has('parsable')) print(String(id))
    else if (!has('quiet')) print(`Submitted batch job ${id}`)
    if (!has('wait')) return exitCodes.ok
    using signal = interrupted()
    const job = await waitFor(batch, id, signal)
    return job === null ? exitCodes.failed : exitOf(job)
  },
}

async function submissionOf(
  wrapped: ScriptOption | undefined,
  rest: readonly string[],
  options: readonly ScriptOption[],
): Promise<ReturnType<typeof sbatchSubmission>> {
  const [path, ...args] = rest
  if (wrapped !== undefined && path !== undefined)
    throw usage('--wrap is instead of a script, and there is one too', 'Leave out one of them.')
  if (wrapped !== undefined)
    return sbatchSubmission({ name: 'wrap', text: `#!/bin/sh\n${wrapped.value ?? ''}\n` }, [], options)
  if (path !== undefined) return sbatchSubmission({ name: path, text: scriptText(path) }, args, options)
  if (process.stdin.isTTY)
    throw usage('stead sbatch needs a script', 'As in `stead sbatch train.sh`, or --wrap COMMAND.')
  return sbatchSubmission({ name: 'sbatch', text: await textOfInput() }, [], options)
}
