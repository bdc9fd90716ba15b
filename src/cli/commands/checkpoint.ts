/** `stead checkpoint`: a copy of all data of an app at one moment, under a name. */
import { SteadError } from '../../base/index.ts'
import type { Command } from '../command.ts'
import { usage } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { needTarget, type Target } from '../target.ts'
import { note, print } from '../terminal.ts'

export const checkpointCommand: Command = {
  name: 'checkpoint',
  usage: '[NAME]',
  summary: 'a copy of all data of the app at this moment, to go back to or to look at',
  help: `  NAME        letters, digits, dots and dashes; without it, the date and time
  --rm        delete that one
  --app APP   a directory (default: here), or the name of an app that \`stead serve\` runs
  --json      as JSON
  Then: stead rollback --checkpoint NAME, stead branch TRY --from NAME, stead restore --look NAME
  Example: stead checkpoint before-the-import`,
  options: { app: { type: 'string' }, rm: { type: 'boolean' } },
  argumentsMax: 1,
  async run(input) {
    const { operator, app } = await needTarget(input.text('app'))
    const name = input.arguments[0] ?? momentName(new Date())
    if (input.flag('rm')) {
      if (input.arguments[0] === undefined) throw usage('which checkpoint is to be deleted?', 'See `stead releases`.')
      const deleted = await operator.releases.deleteCopies(app, [name])
      if (deleted.length === 0) throw await unknownCopy(operator, app, name)
      if (input.json) print(JSON.stringify({ app, deleted }))
      else note(`${name} is deleted.`)
      return exitCodes.ok
    }
    const { tookMs } = await operator.releases.checkpoint(app, name)
    if (input.json) print(JSON.stringify({ app, name, tookMs }))
    else print(`${name}  (${Math.round(tookMs)} ms)`)
    return exitCodes.ok
  },
}

async function unknownCopy({ releases }: Target['operator'], app: string, name: string): Promise<SteadError> {
  const names = (await releases.data(app)).copies.map((copy) => copy.name)
  return new SteadError({
    code: 'cli.unknown-checkpoint',
    message: `${app} has no checkpoint called ${name}, and nothing was deleted`,
    hint: names.length === 0 ? 'It has none.' : `It has: ${names.join(', ')}.`,
  })
}

/** `2026-11-29-1904-05`. */
function momentName(date: Date): string {
  const two = (number: number): string => String(number).padStart(2, '0')
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
  return `${day}-${two(date.getHours())}${two(date.getMinutes())}-${two(date.getSeconds())}`
}
