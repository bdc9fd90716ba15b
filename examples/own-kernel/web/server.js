// Asks the ledger which kernel it runs on, in PostgreSQL's own protocol, as far as that is needed here.
const { createServer } = require('node:http')
const { connect } = require('node:net')
const { release } = require('node:os')

function message(type, ...parts) {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)))
  const length = Buffer.alloc(4)
  length.writeInt32BE(body.length + 4)
  return Buffer.concat([Buffer.from(type), length, body])
}

function ask(sql) {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(process.env.LEDGER_URL)
    const socket = connect(Number(port), hostname)
    let said = Buffer.alloc(0)
    socket.on('error', reject)
    socket.write(message('', Buffer.from([0, 3, 0, 0]), 'user\0app\0database\0postgres\0\0'))
    socket.write(message('Q', sql, '\0'))
    socket.on('data', (chunk) => {
      said = Buffer.concat([said, chunk])
      for (let at = 0; at + 5 <= said.length;) {
        const [type, length] = [String.fromCharCode(said[at]), said.readInt32BE(at + 1)]
        if (at + 1 + length > said.length) return
        // The first column of the first row.
        if (type === 'D')
          return (socket.end(message('X')), resolve(said.toString('utf8', at + 11, at + 11 + said.readInt32BE(at + 7))))
        if (type === 'E') return (socket.destroy(), reject(new Error(said.toString('utf8', at + 5, at + 1 + length))))
        at += 1 + length
      }
    })
  })
}

createServer((question, answer) => {
  if (question.url === '/up') return answer.end()
  ask("select version() || ' on Linux ' || pg_read_file('/proc/sys/kernel/osrelease')").then(
    (text) => answer.end(JSON.stringify({ ledger: text.trim(), web: `Linux ${release()}` })),
    (error) => answer.writeHead(500).end(String(error)),
  )
}).listen(process.env.PORT)
process.on('SIGTERM', () => process.exit(0))
