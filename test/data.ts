/** Where real inputs lie that are not part of the repository: beside the clone, or where STEAD_TEST_DATA says. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** The directory of real inputs, whether it is there or not. */
export const dataDir: string = process.env['STEAD_TEST_DATA'] ?? join(import.meta.dirname, '..', '..', 'shared', 'data')

/** False when the data is there, or the reason to skip with. */
export function needsData(folder: string): string | false {
  return existsSync(join(dataDir, folder))
    ? false
    : `needs real inputs in ${folder} of ../shared/data, or of STEAD_TEST_DATA`
}
