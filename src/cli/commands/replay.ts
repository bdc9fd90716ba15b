/** `stead replay`: rows that a return left behind, brought into the live data. */
import { type Command, usage } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { needTarget } from '../target.ts'
import { print } from '../terminal.ts'

export const replayCommand: Command = {
  name: 'replay',
  usage: 'BRANCH PART TABLE',
  summary: 'bring rows that a return left behind into the live data',
  help: `  BRANCH       what the report names, such as left-by-8
  PART TABLE   the database and the table; what is there already stays as it is
  --where SQL  only rows that this holds for, such as "created_at > '2026-11-29'"
  --app APP    a directory (default: here), or the name of an app that \`stead serve\` runs
  --json       as JSON
  Example: stead replay left-by-8 db orders --where "id in (17, 18)"`,
  options: { app: { type: 'string' }, where: { type: 'string' } },
  argumentsMax: 3,
  async run(input) {
    const [from, part, table] = input.arguments
    if (from === undefined || part === undefined || table === undefined)
      throw usage('stead replay needs a branch, a part and a table', 'As in `stead replay left-by-8 db orders`.')
    const { operator, app } = await needTarget(input.text('app'))
    const rows = await operator.releases.replay(app, { from, part, table, where: input.text('where') })
    if (input.json) print(JSON.stringify({ app, from, part, table, rows }))
    else print(`${rows} ${rows === 1 ? 'row' : 'rows'} brought into ${part} ${table}`)
    return exitCodes.ok
  },
}
