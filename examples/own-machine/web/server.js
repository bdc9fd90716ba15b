// Counts visits in the ledger's PostgreSQL and says what it runs on, in PostgreSQL's own protocol as far as that is needed here.
const { createServer } = require('node:http')
const { connect } = require('node:net')
const { release } = require('node:os')

function message(type, ...parts) {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)))
  const length = Buffer.alloc(4)
  length.writeInt32BE(body.length + 4)
  return Buffer.concat([Buffer.from(type), length, body])
}

/** The first column of the last row of what is asked. */
function ask(sql) {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(process.env.LEDGER_URL)
    const socket = connect(Number(port), hostname)
    let said = Buffer.alloc(0)
    let found = ''
    socket.setTimeout(30_000, () => socket.destroy(new Error('the ledger does not answer')))
    socket.on('error', reject)
    socket.on('close', () => resolve(found))
    socket.write(message('', Buffer.from([0, 3, 0, 0]), 'user\0app\0database\0ledger\0\0'))
    socket.write(message('Q', sql, '\0'))
    socket.write(message('X'))
    socket.on('data', (chunk) => {
      said = Buffer.concat([said, chunk])
      for (let at = 0; at + 5 <= said.length;) {
        const [type, length] = [String.fromCharCode(said[at]), said.readInt32BE(at + 1)]
        if (at + 1 + length > said.length) return void (said = said.subarray(at))
        if (type === 'D') found = said.toString('utf8', at + 11, at + 11 + said.readInt32BE(at + 7))
        if (type === 'E') return void socket.destroy(new Error(said.toString('utf8', at + 5, at + 1 + length)))
        at += 1 + length
        if (at === said.length) said = Buffer.alloc(0)
      }
    })
  })
}

const count = `
  create table if not exists visits (at timestamptz);
  insert into visits values (now());
  select json_build_object('visits', (select count(*) from visits), 'version', version(),
    'kernel', trim(pg_read_file('/proc/sys/kernel/osrelease')))`

createServer((question, answer) => {
  if (question.url === '/up') return answer.end()
  if (question.url !== '/') return answer.writeHead(404).end()
  ask(count).then(
    (text) => answer.end(JSON.stringify({ ledger: JSON.parse(text), web: { kernel: release() } })),
    (error) => answer.writeHead(503).end(String(error)),
  )
}).listen(process.env.PORT)
process.on('SIGTERM', () => process.exit(0))
