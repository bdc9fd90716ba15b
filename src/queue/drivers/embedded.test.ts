/** The embedded driver passes the suite, but for the cases that kill: those take longer. */
import { queueConformance } from '../conformance.ts'
import { makeEmbeddedPlace } from './embedded/place.test-helper.ts'

queueConformance({ name: 'embedded', shared: false, makePlace: makeEmbeddedPlace, brief: true, chaosMs: 1 })
