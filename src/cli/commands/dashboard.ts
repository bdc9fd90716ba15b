/** `stead dashboard`: a fresh way into the dashboard of whatever runs. */
import type { Command } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { needTarget } from '../target.ts'
import { duration, note, print } from '../terminal.ts'

export const dashboardCommand: Command = {
  name: 'dashboard',
  usage: '[APP]',
  summary: 'a way into the dashboard, for one browser',
  help: `  --json        as JSON
  Prints an address for a browser on this machine. It works once, and not for long; what is secret in it is never
  sent to a server as an address.
  APP is a directory (default: here), or the name of an app that \`stead serve\` runs.
  Example: stead dashboard examples/shop`,
  options: {},
  argumentsMax: 1,
  async run({ arguments: [word = null], json }) {
    const { operator, app } = await needTarget(word)
    const login = await operator.dashboardLogin()
    const url = `${login.url}&app=${encodeURIComponent(app)}`
    if (json) print(JSON.stringify({ ...login, url }))
    else {
      print(url)
      note(`It works once, within ${duration(login.forMs)}.`)
    }
    return exitCodes.ok
  },
}
