/** A bad release on purpose: loaded before the server, it makes every third page fail, as an untested change might. */
import http, { type RequestListener } from 'node:http'
import { syncBuiltinESMExports } from 'node:module'

let requests = 0
const { createServer } = http

http.createServer = ((listener: RequestListener) =>
  createServer((request, response) => {
    if (request.url !== '/healthz') requests += 1
    if (requests % 3 === 0 && request.url !== '/healthz') response.writeHead(500).end('untested')
    else listener(request, response)
  })) as typeof createServer

syncBuiltinESMExports()
