/** Counts visits in Redis, in the protocol that Redis speaks: one command, one line of answer. */
import { createServer } from 'node:http'
import { connect } from 'node:net'

function increment(key: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(process.env['CACHE_PORT']), process.env['CACHE_HOST'])
    socket.setEncoding('utf8').on('error', reject)
    socket.once('data', (answer: string) => {
      socket.end()
      resolve(answer.trim().replace(':', ''))
    })
    socket.write(`INCR ${key}\r\n`)
  })
}

const server = createServer((_question, answer) => {
  increment('visits').then(
    (count) => answer.end(`visit ${count}\n`),
    (error: unknown) => answer.writeHead(500).end(String(error)),
  )
})
server.listen(Number(process.env['PORT']))
process.on('SIGTERM', () => server.close(() => process.exit(0)))
