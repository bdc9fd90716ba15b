/** Commands that mean an app on a server: `ssh://HOST/APP`. Everything they ask goes over the user's own SSH. */
import { SteadError } from '../../base/index.ts'
import { type OperatorClient, operatorClient } from '../../operator/index.ts'
import {
  type Connection,
  connectServer,
  describeServer,
  isServerAddress,
  parseServerAddress,
} from '../../remote/index.ts'
import { usage } from '../command.ts'

/** The daemon of a server; the connection lasts as long as this process. Throws what `connectServer` does, `cli.not-running`. */
export async function remoteOperator(word: string): Promise<OperatorClient> {
  if (!isServerAddress(word)) throw usage(`--on must be a server, not ${word}`, 'For example: --on ssh://root@host')
  const { address } = parseServerAddress(word)
  return operatorOf(await connectServer(address))
}

/** The daemon behind a connection. Throws `cli.not-running`, or why its way in failed. */
export async function operatorOf(connection: Connection): Promise<OperatorClient> {
  const operator = await operatorClient(await connection.operatorSocket())
  if (operator !== null) return operator
  throw (
    connection.entranceFailure ??
    new SteadError({
      code: 'cli.not-running',
      message: `\`stead serve\` does not run on ${connection.place}`,
      hint: `\`stead deploy ssh://${connection.place}\` starts it.`,
    })
  )
}

/** Whether a word of the command line means a server. */
export function isServerWord(word: string): boolean {
  return isServerAddress(word)
}

/** The app that `word` names on a server; null when it names none. Throws `cli.unknown-app` besides. */
export async function remoteTarget(word: string): Promise<{ operator: OperatorClient; app: string } | null> {
  if (!isServerAddress(word)) return null
  const { address, app } = parseServerAddress(word)
  const operator = await operatorOf(await connectServer(address))
  const apps = (await operator.platform()).apps.map((summary) => summary.app)
  const [only, ...more] = apps
  if (app !== null && apps.includes(app)) return { operator, app }
  if (app === null && only !== undefined && more.length === 0) return { operator, app: only }
  const place = describeServer(address)
  throw new SteadError({
    code: 'cli.unknown-app',
    message:
      app !== null
        ? `no app called ${app} runs on ${place}`
        : apps.length === 0
          ? `no app runs on ${place}`
          : `several apps run on ${place}: which one?`,
    hint:
      apps.length === 0
        ? `Bring one: stead deploy ssh://${place}`
        : `It runs: ${apps.map((name) => `ssh://${place}/${name}`).join(', ')}`,
  })
}
