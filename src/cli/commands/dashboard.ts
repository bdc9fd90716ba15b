/** `stead dashboard`: a fresh way into the dashboard of whatever runs. */
import { isSteadError } from '../../base/index.ts'
import { type OperatorClient, operatorClient } from '../../operator/index.ts'
import type { Command } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { daemonSocket } from '../home.ts'
import { findTarget, needTarget } from '../target.ts'
import { duration, note, print } from '../terminal.ts'

export const dashboardCommand: Command = {
  name: 'dashboard',
  usage: '[APP]',
  summary: 'a way into the dashboard, for one browser',
  help: `  --json        as JSON
  Prints an address for a browser on this machine. It works once, and not for long; what is secret in it is never
  sent to a server as an address.
  APP is a directory (default: here), or the name of an app that \`stead serve\` runs. Without one, where no app is,
  it is the dashboard of \`stead serve\`.
  Example: stead dashboard examples/shop`,
  options: {},
  argumentsMax: 1,
  async run({ arguments: [word = null], json }) {
    const { operator, app } = await platformOf(word)
    const login = await operator.dashboardLogin()
    const url = app === null ? login.url : `${login.url}&app=${encodeURIComponent(app)}`
    if (json) print(JSON.stringify({ ...login, url }))
    else {
      print(url)
      note(`It works once, within ${duration(login.forMs)}.`)
    }
    return exitCodes.ok
  },
}

/** The platform that is meant, and the app on it; no app: all that it runs. */
async function platformOf(
  word: string | null,
): Promise<{ readonly operator: OperatorClient; readonly app: string | null }> {
  if (word !== null) return needTarget(word)
  const here = await findTarget(null).catch((error: unknown) => {
    if (isSteadError(error)) return null
    throw error
  })
  const operator = here?.operator ?? (await operatorClient(daemonSocket()))
  return operator === null ? needTarget(null) : { operator, app: here?.app ?? null }
}
