/** `stead branch`: the app once more, on a writable copy of its data, under an address of its own. */
import type { OperatorClient } from '../../operator/index.ts'
import { type Command, usage } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { partFailure } from '../failure.ts'
import { followDeployment } from '../following.ts'
import { needTarget } from '../target.ts'
import { note, print, Steps } from '../terminal.ts'

export const branchCommand: Command = {
  name: 'branch',
  usage: 'NAME',
  summary: 'the app once more, on a writable copy of its data, under its own address',
  help: `  --from COPY   a checkpoint, or what a return left behind, of \`stead releases\`; without it the data of now
  --rm          stop the branch and delete its data
  --app APP     a directory (default: here), or the name of an app that \`stead serve\` runs
  --json        one JSON object a line instead of text
  A branch dials nothing outside the app, runs no schedule, and gets values without meaning instead of the secrets that
  somebody has set: no preview ever sends a real mail. It is an app of its own, APP--NAME, for status, logs and exec.
  Example: stead branch try --from before-7`,
  options: { app: { type: 'string' }, from: { type: 'string' }, rm: { type: 'boolean' } },
  argumentsMax: 1,
  async run(input) {
    const [name] = input.arguments
    if (name === undefined) throw usage('what is the branch to be called?', 'As in `stead branch try`.')
    const { operator, app } = await needTarget(input.text('app'))
    if (input.flag('rm')) {
      await operator.releases.removeBranch(app, name)
      if (input.json) print(JSON.stringify({ app, removed: name }))
      else note(`The branch ${name} is gone, with its data.`)
      return exitCodes.ok
    }
    await openBranch(operator, app, { name, from: input.text('from'), purpose: 'branch', json: input.json })
    return exitCodes.ok
  },
}

/** Makes a branch, follows it until it serves, and prints where. Throws `cli.part-failed`. */
export async function openBranch(
  operator: OperatorClient,
  app: string,
  options: {
    readonly name: string
    readonly from: string | null
    readonly purpose: 'branch' | 'look'
    readonly json: boolean
  },
): Promise<void> {
  const { name, from, purpose, json } = options
  const steps = new Steps(json)
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort(new Error('SIGINT')))
  const own = await steps.run('copy the data', () => operator.releases.branch(app, name, from, purpose))
  const failed = await followDeployment(operator, await operator.graph(own), steps, stop.signal)
  if (failed !== null) throw partFailure(failed.part, failed.reason)
  const { urls } = await operator.status(own)
  if (json) return print(JSON.stringify({ app: own, urls }))
  for (const url of urls) print(url)
  note(`It is the app ${own}: stead status ${own}. \`stead branch --rm ${name} --app ${app}\` takes it away.`)
}
