/** The queues behind the HTTP interface pass the whole suite, with the server killed and a minute of killed processes. */
import { queueConformance } from '../conformance.ts'
import { makeHttpPlace } from './http/place.test-helper.ts'

queueConformance({ name: 'http', shared: true, makePlace: makeHttpPlace, chaosMs: 60_000 })
