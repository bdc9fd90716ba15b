/** The Beanstalkd driver passes the whole suite, with its server killed and a minute of killed processes. */
import { suite } from 'node:test'
import { beanstalkd, needsBroker } from '../../../test/brokers.ts'
import { queueConformance } from '../conformance.ts'
import { makeBeanstalkdPlace } from './beanstalkd/place.test-helper.ts'

suite('beanstalkd queues', { skip: needsBroker(beanstalkd) }, () => {
  queueConformance({ name: 'beanstalkd', shared: true, makePlace: makeBeanstalkdPlace, chaosMs: 60_000 })
})
