/** The Beanstalkd driver passes the suite on a real server, but for the cases that kill: those take longer. */
import { suite, test } from 'node:test'
import { beanstalkd, needsBroker } from '../../../test/brokers.ts'
import { queueConformance } from '../conformance.ts'
import { refuses } from '../helpers.conformance.ts'
import { makeBeanstalkdPlace } from './beanstalkd-place.test-helper.ts'
import { openBeanstalkdQueues } from './beanstalkd.ts'

suite('beanstalkd queues', { skip: needsBroker(beanstalkd) }, () => {
  queueConformance({ name: 'beanstalkd', shared: true, brief: true, makePlace: makeBeanstalkdPlace, chaosMs: 0 })

  test('a server that is not there is said', () =>
    refuses('queue.unavailable', () => openBeanstalkdQueues({ port: 1 })))
})
