/** The Beanstalkd driver passes the suite on a real server, but for the cases that kill: those take longer. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { beanstalkd, Broker, needsBroker } from '../../../test/brokers.ts'
import { jsonCodec } from '../codec.ts'
import { queueConformance } from '../conformance.ts'
import { refuses, takeOne } from '../helpers.conformance.ts'
import { BeanstalkdConnection, saidBy } from './beanstalkd/client.ts'
import { makeBeanstalkdPlace } from './beanstalkd/place.test-helper.ts'
import { openBeanstalkdQueues } from './beanstalkd.ts'

suite('beanstalkd queues', { skip: needsBroker(beanstalkd) }, () => {
  queueConformance({ name: 'beanstalkd', shared: true, brief: true, makePlace: makeBeanstalkdPlace, chaosMs: 0 })

  test('any client finds what was sent, and what it sends arrives', async () => {
    await using broker = await Broker.start(beanstalkd)
    await using queues = await openBeanstalkdQueues({ port: broker.port })
    const mail = await queues.declare('mail', jsonCodec)
    const { host, port, namesOf } = queues.native
    const connection = await BeanstalkdConnection.open(host, port, 5000)
    const { tube } = namesOf('mail')
    await connection.command(`use ${tube}`)
    await connection.command('put 9 0 60 8', Buffer.from('"theirs"'))
    const message = await takeOne(mail)
    assert.equal(message.value, 'theirs')
    await message.ack()
    await mail.send('ours')
    assert.equal(saidBy(await connection.command('peek-ready')), 'FOUND')
    connection.close()
  })

  test('a server that is not there is said', () =>
    refuses('queue.unavailable', () => openBeanstalkdQueues({ port: 1 })))
})
