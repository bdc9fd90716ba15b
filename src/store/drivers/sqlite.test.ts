/** The SQLite driver passes the suite. */
import { storeConformance } from '../conformance.ts'
import { makeSqlitePlace } from './sqlite-place.test-helper.ts'

storeConformance({ name: 'sqlite', makePlace: makeSqlitePlace, killRounds: 3, histories: 12 })
