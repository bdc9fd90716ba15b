/** A bad release on purpose: loaded before the server, it makes every third page fail, as an untested change might. */
import { Server } from 'node:http'

let requests = 0
const emit = Server.prototype.emit

Server.prototype.emit = function (event: string | symbol, ...args: unknown[]): boolean {
  const [request, response] = args as [{ url?: string }?, { writeHead(status: number): { end(): void } }?]
  if (event !== 'request' || request?.url === '/healthz') return Reflect.apply(emit, this, [event, ...args]) as boolean
  requests += 1
  if (requests % 3 !== 0) return Reflect.apply(emit, this, [event, ...args]) as boolean
  response?.writeHead(500).end()
  return true
}
