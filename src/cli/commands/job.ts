/** `stead job`: submits jobs that no app declares, and says what becomes of them. */
import type { Submission } from '../../batch/index.ts'
import type { OperatorClient } from '../../operator/index.ts'
import { jobsShownMax, tasksShownMax } from '../../operator/index.ts'
import { exitOf, interrupted, printOutput, waitFor } from '../batch/follow.ts'
import { account, node, queue, release, reserve } from '../batch/rules.ts'
import { jobTable, nodeTable, tasksOf, taskTable, usageTable } from '../batch/show.ts'
import { scriptIn } from '../batch/script.ts'
import { arrayOf, submissionHelp, submissionOf, submissionOptions } from '../batch/submission.ts'
import { type Command, type Input, usage } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { platformOfJobs } from '../target.ts'
import { note, paint, print } from '../terminal.ts'

type Client = OperatorClient['batch']
type Action = (batch: Client, input: Input) => Promise<number>

const actions: Readonly<Record<string, Action>> = {
  run,
  submit,
  array,
  ls,
  why,
  cancel,
  logs,
  wait,
  queue,
  account,
  reserve,
  release,
  node,
  usage: used,
}

export const jobCommand: Command = {
  name: 'job',
  usage: 'run|submit|array|ls|why|cancel|logs|wait|queue|account|reserve|release|node|usage',
  summary: 'submit jobs that no app declares: one, thousands, or several that work together',
  help: `  run -- COMMAND...           submit, show what it prints, end with its exit code; Ctrl-C cancels it
  submit -- COMMAND...        submit, and answer the number of the job
  submit SCRIPT [ARG...]      the same with a script that has #SBATCH lines; options here go before those. With options of
                              Slurm on the command line: \`stead sbatch\`
  array RANGE -- COMMAND...   a task for each number of 0-99, 1,5,7 or 0-100:10; 0-99%4: four at once. STEAD_TASK says which
  ls [JOB]                    jobs that have not ended (--all: those too), or the tasks of one
  why JOB[/TASK]              why it waits, and what would have to change
  cancel JOB[/TASK]...        end it, or a task of it
  logs JOB[/TASK]             what it printed; -f goes on, -n N only the last lines
  wait JOB...                 until they have ended; exit code of the first that did not end well
  queue [NAME --priority N [--preempts] [--time T]]   the queues, or make or change one
  account [NAME ...]          what accounts may have at once, or set it: --cpu, --memory, --gpu, --tasks (what is not said is without
                              limit), and --weight of its share
  reserve [NAME --until T]    the times for which nodes are kept free, or make one: --from T (default: now), --node NAME (default: all);
                              T: 2026-12-24T22:00, or 3h from now. Jobs that end before go on beginning; those with --reservation NAME begin in it
  release NAME                end a reservation
  node [NAME WORD]            the nodes; WORD: cordon (nothing new begins there), drain (what runs there is put back too), open
  usage                       what accounts have used, and the nodes

${submissionHelp}

  --on ssh://HOST   on a server; else the platform that runs here (\`stead up\` or \`stead serve\`)
  --json            as JSON
  Example: stead job array 0-99%8 --cpu 1 --memory 512MiB --time 10m -- sh -c 'echo task $STEAD_TASK'`,
  options: {
    ...submissionOptions,
    on: { type: 'string' },
    all: { type: 'boolean' },
    follow: { type: 'boolean', short: 'f' },
    lines: { type: 'string', short: 'n' },
    preempts: { type: 'boolean' },
    weight: { type: 'string' },
    from: { type: 'string' },
    until: { type: 'string' },
    node: { type: 'string', multiple: true },
  },
  argumentsMax: 1000,
  takesProgram: true,
  async run(input) {
    const [word = 'ls'] = input.arguments
    const action = actions[word]
    if (action === undefined)
      throw usage(`stead job has no action ${word}`, `It has: ${Object.keys(actions).join(', ')}.`)
    return action(await platformOfJobs(input.text('on')), input)
  },
}

function programOf(input: Input, action: string): readonly string[] {
  if (input.program.length > 0) return input.program
  throw usage(`stead job ${action} needs a program after --`, `As in \`stead job ${action} -- sh -c 'echo hello'\`.`)
}

async function run(batch: Client, input: Input): Promise<number> {
  using signal = interrupted()
  const id = await batch.submit(submissionOf(input, programOf(input, 'run')))
  await printOutput(batch, await batch.job(id), { index: null, follow: true, tail: null, json: input.json }, signal)
  const job = await waitFor(batch, id, signal)
  if (job === null) {
    await batch.cancel(id, null)
    note(`job ${id} was cancelled`)
    return exitCodes.failed
  }
  if (input.json) print(JSON.stringify(job))
  return exitOf(job)
}

async function submit(batch: Client, input: Input): Promise<number> {
  const [, script, ...args] = input.arguments
  if (script === undefined) return submitted(batch, input, submissionOf(input, programOf(input, 'submit')))
  return submitted(batch, input, scriptIn(script, [...args, ...input.program], input))
}

async function array(batch: Client, input: Input): Promise<number> {
  const range = input.arguments[1]
  if (range === undefined) throw usage('stead job array needs a range', 'As in `stead job array 0-99 -- COMMAND`.')
  const submission = submissionOf(input, programOf(input, 'array'))
  return submitted(batch, input, { ...submission, array: arrayOf(range) })
}

async function submitted(batch: Client, input: Input, submission: Submission): Promise<number> {
  const job = await batch.submit(submission)
  print(input.json ? JSON.stringify({ job }) : String(job))
  return exitCodes.ok
}

async function ls(batch: Client, input: Input): Promise<number> {
  const word = input.arguments[1]
  if (word === undefined) {
    const jobs = await batch.list({ ended: input.flag('all'), max: jobsShownMax })
    if (input.json) print(JSON.stringify({ jobs }))
    else print(jobs.length === 0 ? 'No job waits or runs.' : jobTable(jobs))
    return exitCodes.ok
  }
  const { job: id } = taskOf(word)
  const job = await batch.job(id)
  const tasks = await batch.tasks(id, 0, input.flag('all') ? tasksShownMax : 100)
  if (input.json) print(JSON.stringify({ ...job, each: tasks }))
  else {
    print(`${paint('bold', `${job.job} ${job.name}`)}  ${job.phase}  ${tasksOf(job)}`)
    print(taskTable(tasks))
    if (tasks.length < job.count) print(paint('dim', `the first ${tasks.length} of ${job.count}; --all shows more`))
  }
  return exitCodes.ok
}

async function why(batch: Client, input: Input): Promise<number> {
  const { job, index } = taskOf(needed(input, 'why'))
  const found = await batch.why(job, index)
  if (input.json) print(JSON.stringify({ job, task: index, ...found }))
  else {
    print(found.sentence)
    for (const remedy of found.remedies) print(`  ${remedy}`)
  }
  return exitCodes.ok
}

async function cancel(batch: Client, input: Input): Promise<number> {
  needed(input, 'cancel')
  for (const word of input.arguments.slice(1)) {
    const { job, index } = taskOf(word)
    await batch.cancel(job, index)
  }
  return exitCodes.ok
}

async function logs(batch: Client, input: Input): Promise<number> {
  using signal = interrupted()
  const { job: id, index } = taskOf(needed(input, 'logs'))
  const job = await batch.job(id)
  const [task] = await batch.tasks(id, 0, 1)
  if (task?.output !== null && task?.output !== undefined) note(`its output goes to ${task.output}`)
  const options = { index, follow: input.flag('follow'), tail: input.number('lines', 1, 1_000_000), json: input.json }
  await printOutput(batch, job, options, signal)
  return exitCodes.ok
}

async function wait(batch: Client, input: Input): Promise<number> {
  using signal = interrupted()
  needed(input, 'wait')
  let code: number = exitCodes.ok
  for (const word of input.arguments.slice(1)) {
    const job = await waitFor(batch, taskOf(word).job, signal)
    if (job === null) return exitCodes.failed
    if (input.json) print(JSON.stringify(job))
    const own = exitOf(job)
    if (code === 0) code = own
  }
  return code
}

async function used(batch: Client, input: Input): Promise<number> {
  const [usageRecords, nodes] = await Promise.all([batch.usage(), batch.nodes()])
  if (input.json) print(JSON.stringify({ usage: usageRecords, nodes }))
  else {
    print(usageRecords.length === 0 ? 'Nothing was used yet.' : usageTable(usageRecords))
    print(`\n${nodeTable(nodes)}`)
  }
  return exitCodes.ok
}

function needed(input: Input, action: string): string {
  const word = input.arguments[1]
  if (word !== undefined) return word
  throw usage(`stead job ${action} needs a job`, `As in \`stead job ${action} 12\`, or 12/3 for a task of it.`)
}

/** `12`, or `12/3` (also `12_3`) for a task. */
function taskOf(word: string): { readonly job: number; readonly index: number | null } {
  const match = /^([1-9]\d{0,14})(?:[/_](\d{1,9}))?$/.exec(word)
  if (match === null) throw usage(`'${word}' is no number of a job`, 'As in 12, or 12/3 for a task of it.')
  return { job: Number(match[1]), index: match[2] === undefined ? null : Number(match[2]) }
}
