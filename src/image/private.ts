/** Directories that nobody but their owner may pass. Invariant: what lies above them stays as open as it is made. */
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { systemCodeOf } from '../base/index.ts'

export async function makePrivate(directory: string): Promise<void> {
  await mkdir(dirname(directory), { recursive: true })
  try {
    await mkdir(directory, { mode: 0o700 })
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST') throw error
  }
}
