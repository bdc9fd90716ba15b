/** `stead restore`: look at a checkpoint beside the running app, and decide. */
import { type Command, usage } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { needTarget } from '../target.ts'
import { note } from '../terminal.ts'
import { openBranch } from './branch.ts'

export const restoreCommand: Command = {
  name: 'restore',
  usage: '--look COPY',
  summary: 'open a checkpoint beside the running app, to look at it before deciding',
  help: `  --look COPY  a checkpoint, or what a return left behind, of \`stead releases\`
  --app APP    a directory (default: here), or the name of an app that \`stead serve\` runs
  --json       one JSON object a line instead of text
  What is opened is a copy of that copy, with the release of then: nothing that is done there changes the checkpoint.
  Example: stead restore --look before-7`,
  options: { app: { type: 'string' }, look: { type: 'string' } },
  argumentsMax: 0,
  async run(input) {
    const from = input.text('look')
    if (from === null)
      throw usage('what is to be looked at?', 'As in `stead restore --look before-7`; `stead rollback` goes back.')
    const { operator, app } = await needTarget(input.text('app'))
    const name = `look-${from.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}`
      .slice(0, Math.max(1, 38 - app.length))
      .replace(/-$/, '')
    await openBranch(operator, app, { name, from, purpose: 'look', json: input.json })
    note(`To go back to it: stead rollback --checkpoint ${from} --app ${app}`)
    return exitCodes.ok
  },
}
