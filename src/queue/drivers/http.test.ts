/** The queues behind the HTTP interface pass the suite on the real server, but for the cases that kill: those take longer. */
import { queueConformance } from '../conformance.ts'
import { makeInnerHttpPlace } from './http/place.test-helper.ts'

queueConformance({ name: 'http', shared: true, makePlace: makeInnerHttpPlace, brief: true, chaosMs: 0 })
