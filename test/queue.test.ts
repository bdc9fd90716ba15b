/**
 * A queue of an app on the real daemon: what its parts may do, what people see and do by the command line and what the record
 * says of it, and a return with data, which takes the messages along and voids what was held.
 */
import assert from 'node:assert/strict'
import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import { suite, test } from 'node:test'
import { DaemonBench } from './daemon-bench.ts'

/** A service that passes on what it is asked to its queue, with what it was given. */
const proxy = `
  import { createServer, request } from 'node:http'
  createServer((question, answer) => {
    const url = process.env.QUEUE_ENDPOINT + (question.url === '/' ? '' : question.url)
    const headers = { authorization: 'Bearer ' + process.env.QUEUE_TOKEN }
    const asked = request(url, { method: question.method, headers }, (told) => {
      answer.writeHead(told.statusCode, told.headers)
      told.pipe(answer)
    })
    asked.on('error', (error) => answer.writeHead(502).end(error.message))
    question.pipe(asked)
  }).listen(process.env.PORT)
  process.on('SIGTERM', () => process.exit(0))
`

const app = `
  import { app, queue, service } from 'stead'
  export default app('post', () => {
    const mail = queue('mail', { retry: { attempts: 2, pause: '0ms' } })
    const made = (name, use) => service(name, { from: './web', run: ['node', 'server.mjs'], http: 3000, use })
    const web = made('web', { mail })
    const sender = made('sender', { outbox: mail.only('send') })
    return { parts: { web, sender }, public: { 'post.localhost': web, 'sender.localhost': sender } }
  })
`

type Reply = Readonly<Record<string, unknown>>

/** Asks the queue through one of the services. */
async function ask(port: number, host: string, path: string, body?: unknown): Promise<Reply> {
  const answer = await new Promise<string>((resolve, reject) => {
    const method = body === undefined ? 'GET' : 'POST'
    const asked = request({ host: '127.0.0.1', port, path, method, headers: { host } }, (response) => {
      text(response).then(resolve, reject)
    })
    asked.once('error', reject)
    asked.end(body === undefined ? '' : JSON.stringify(body))
  })
  return JSON.parse(answer) as Reply
}

function listOf(reply: Reply, name: string): readonly Reply[] {
  const list = reply[name]
  assert.ok(Array.isArray(list), JSON.stringify(reply))
  return list as readonly Reply[]
}

suite('the queue of an app', { timeout: 600_000 }, () => {
  test('is used by its parts, seen and put right by people, and goes back with the data', async (t) => {
    await using daemon = await DaemonBench.start()
    const { bench, port } = daemon
    bench.write({ 'app.ts': app, 'web/server.mjs': proxy })
    await daemon.deploy('post')
    await daemon.ready('post', 'web')
    const web = (path: string, body?: unknown): Promise<Reply> => ask(port, 'post.localhost', path, body)
    const settle = async (message: Reply | undefined, decision: string): Promise<unknown> => {
      const answer = await web('/settle', { settlements: [{ receipt: message?.['receipt'], decision }] })
      return listOf(answer, 'results')[0]?.['outcome']
    }
    const takeOne = async (): Promise<Reply | undefined> =>
      listOf(await web('/receive', { waitMs: 10_000, leaseMs: 3_600_000 }), 'messages')[0]
    const queue = (...words: readonly string[]): ReturnType<typeof bench.stead> =>
      bench.stead('queue', ...words, '--app', 'post')

    await t.test('each part has the rights of its use', async () => {
      assert.equal((await ask(port, 'sender.localhost', '/messages', { value: 1, id: 'first' }))['ok'], true)
      assert.equal((await ask(port, 'sender.localhost', '/receive', {}))['code'], 'queue.forbidden')
      const message = await takeOne()
      assert.deepEqual([message?.['id'], message?.['text']], ['first', '1'])
      assert.equal(await settle(message, 'ack'), 'done')
    })

    await t.test('the command line shows it, puts dead letters back, and deletes only what it is told to', async () => {
      await web('/messages', { messages: ['bad', 'good'].map((id) => ({ id, text: `a ${id} one` })) })
      for (let round = 0; round < 2; round += 1) await settle(await takeOne(), 'retry')
      const seen = await queue('ls', '--json')
      const { queues } = JSON.parse(seen.stdout) as { queues: readonly Reply[] }
      assert.deepEqual(
        queues.map(({ part, name, ready, dead }) => [part, name, ready, dead]),
        [['mail', 'mail', 1, 1]],
      )
      assert.match((await queue()).stdout, /QUEUE +WAITING +OLDEST +DELAYED +HELD +DEAD\nmail +1 +\S+ .*0 +0 +1/)
      assert.match((await queue('peek', 'mail', '--dead')).stdout, /bad .*a bad one +2 attempts have failed/)
      assert.match((await queue('peek', 'mail')).stdout, /good/)

      assert.equal((await queue('redrive', 'mail', '--id', 'bad')).code, 0)
      assert.equal((await web(''))['dead'], 0)
      const unclear = await queue('purge', 'mail')
      assert.deepEqual([unclear.code, unclear.stdout], [2, ''])
      const unasked = await queue('purge', 'mail', '--ready')
      assert.equal(unasked.code, 2, 'nobody is there to be asked')
      assert.match(unasked.stderr, /nothing was deleted/)
      assert.equal((await web(''))['ready'], 2)
      const purged = await queue('purge', 'mail', '--ready', '--yes', '--json')
      assert.equal((JSON.parse(purged.stdout) as Reply)['count'], 2)
      const unknown = await queue('peek', 'letters')
      assert.deepEqual([unknown.code, /It has: mail/.test(unknown.stderr)], [1, true], unknown.stderr)
      assert.equal((await queue('sing', 'mail')).code, 2)
      const { stdout } = await bench.stead('audit', '--json')
      assert.match(stdout, /queues\/:part\/redrive/)
      assert.match(stdout, /queues\/:part\/purge/)
    })

    await t.test('a return brings its messages back, says so, and voids what was held', async () => {
      await web('/messages', { messages: ['held', 'waiting'].map((id) => ({ id, text: id })) })
      const held = await takeOne()
      const checkpoint = await bench.stead('checkpoint', 'then', '--app', 'post')
      assert.equal(checkpoint.code, 0, checkpoint.stderr)
      // What happens after it: one that waited is done, three more are sent.
      assert.equal(await settle(await takeOne(), 'ack'), 'done')
      await web('/messages', { messages: ['x', 'y', 'z'].map((id) => ({ id, text: id })) })

      const back = await bench.stead('rollback', '--checkpoint', 'then', '--app', 'post')
      assert.equal(back.code, 0, back.stderr)
      assert.match(back.stdout, /mail mail: 3 inserted, 1 deleted$/m)
      await daemon.ready('post', 'web')

      assert.equal(await settle(held, 'ack'), 'lost', 'what was held before it cannot be settled after it')
      const again = [await takeOne(), await takeOne()]
      assert.deepEqual(
        again.map((message) => message?.['id']),
        ['held', 'waiting'],
      )
      assert.deepEqual(await Promise.all(again.map((message) => settle(message, 'ack'))), ['done', 'done'])
      const { ready, held: inHand, dead } = await web('')
      assert.deepEqual([ready, inHand, dead], [0, 0, 0])
    })
  })
})
