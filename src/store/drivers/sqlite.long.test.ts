/** The SQLite driver passes many random histories and many kills. */
import { storeConformance } from '../conformance.ts'
import { makeSqlitePlace } from './sqlite-place.test-helper.ts'

storeConformance({ name: 'sqlite, long', makePlace: makeSqlitePlace, killRounds: 30, histories: 200 })
