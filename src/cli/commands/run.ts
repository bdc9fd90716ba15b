/** `stead run`: runs a job now, shows what it prints, and ends as it ends. */
import { SteadError } from '../../base/index.ts'
import { type Command, helpOf, usage } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { needTarget } from '../target.ts'
import { note, print } from '../terminal.ts'

export const runCommand: Command = {
  name: 'run',
  usage: 'JOB [APP]',
  summary: 'run a job now, and follow it to its end',
  help: `  --json        one JSON object a line
  Exit code 0 when it succeeded; otherwise that of the job's last attempt, or 1 when it has none.
  Ctrl-C stops following; the run goes on.
  APP is a directory (default: here), or the name of an app that \`stead serve\` runs.
  Example: stead run tidy`,
  options: {},
  argumentsMax: 2,
  async run({ arguments: [job, word = null], json }) {
    if (job === undefined) throw usage('stead run needs the name of a job', helpOf(runCommand))
    const { operator, app } = await needTarget(word)
    const abort = new AbortController()
    process.once('SIGINT', () => abort.abort())
    for await (const event of operator.run(app, job, abort.signal)) {
      if (json) print(JSON.stringify(event))
      if (event.kind === 'line' && !json) print(event.text)
      if (event.kind !== 'ended') continue
      if (event.outcome === 'succeeded') return exitCodes.ok
      if (!json) note(`${job} ${event.sentence ?? 'was stopped before its end'}`)
      return event.exitCode === null || event.exitCode === 0 ? exitCodes.failed : event.exitCode
    }
    if (abort.signal.aborted) {
      note(`${job} goes on; see \`stead jobs\`.`)
      return exitCodes.ok
    }
    throw new SteadError({
      code: 'cli.not-followed',
      message: `the platform went away before ${job} had ended`,
      hint: 'The run goes on where its node does: see `stead jobs`.',
      retry: 'later',
    })
  },
}
