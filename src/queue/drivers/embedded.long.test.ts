/** The embedded driver passes the suite, with a minute of kills. */
import { queueConformance } from '../conformance.ts'
import { makeEmbeddedPlace } from './embedded/place.test-helper.ts'

queueConformance({ name: 'embedded', shared: false, makePlace: makeEmbeddedPlace, chaosMs: 60_000 })
