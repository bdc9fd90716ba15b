/** `stead forward`: a local port that leads to a service or a database. */
import type { OperatorBinding } from '../../operator/index.ts'
import { type Command, helpOf, usage } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { forwardPort, localHost as host, reachable } from '../forwarding.ts'
import { needTarget } from '../target.ts'
import { note, print } from '../terminal.ts'

export const forwardCommand: Command = {
  name: 'forward',
  usage: 'PART[:PORT] [LOCALPORT] [APP]',
  summary: 'a local port that leads to a service or a database',
  help: `  --json        one JSON object with what it prints
  PORT is one that the part listens on; the one it serves on when it is left out. LOCALPORT is a free one when it is
  left out. For a database the URL is printed whole, with a role of your own that may read and write the app's data; it
  stays until the database is gone. The port stays when the platform starts anew, and so do
  connections through it while the node does not. Ctrl-C ends it.
  Example: stead forward db 5433`,
  options: {},
  argumentsMax: 3,
  async run({ arguments: [what, ...rest], json }) {
    if (what === undefined) throw usage('stead forward needs the name of a part', helpOf(forwardCommand))
    const [part = '', portText] = what.split(':')
    const [first, second] = rest
    const localText = first !== undefined && /^\d+$/.test(first) ? first : undefined
    const word = (localText === undefined ? first : second) ?? null
    if (localText === undefined && second !== undefined) throw usage(`${first} is no port`, helpOf(forwardCommand))
    const port = portText === undefined ? null : portOf(portText)
    const found = await needTarget(word)
    const forwarded = { target: found, word, part, port }
    await using server = await forwardPort(localText === undefined ? 0 : portOf(localText), forwarded)
    const binding = await found.operator.bind(found.app, part, host, server.port)
    if (binding === null) await reachable(forwarded)
    tell(part, binding, server.port, json)
    await new Promise<void>((resolve) => {
      process.once('SIGINT', () => resolve())
      process.once('SIGTERM', () => resolve())
    })
    return exitCodes.ok
  },
}

function tell(part: string, binding: OperatorBinding | null, port: number, json: boolean): void {
  const env = binding?.env ?? {}
  const url = env['DATABASE_URL'] ?? env['QUEUE_URL'] ?? `http://${host}:${port}`
  if (json) return print(JSON.stringify({ part, host, port, url, env }))
  print(url)
  note(`${host}:${port} leads to ${part}. Ctrl-C ends it.`)
}

function portOf(text: string): number {
  const port = Number(text)
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port
  throw usage(`a port is a number from 1 to 65535, not '${text}'`, helpOf(forwardCommand))
}
