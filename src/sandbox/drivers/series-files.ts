/** Lays out what the starts of a series read. Invariant: it belongs to the user that the programs run as, and to nobody else. */
import { spawnSync } from 'node:child_process'
import { chownSync, writeFileSync } from 'node:fs'
import { SteadError } from '../../base/index.ts'

const mkfifoTimeoutMs = 10_000

/** Writes a file of a series; answers its path. `owner`: null for this process's own user. */
export function layFile(
  directory: string,
  name: string,
  content: string | Uint8Array,
  mode: number,
  owner: number | null,
): string {
  const path = `${directory}/${name}`
  writeFileSync(path, content, { mode })
  if (owner !== null) chownSync(path, owner, owner)
  return path
}

/** Makes the pipe for the output: a program may reopen it as /dev/stdout. Throws `sandbox.start-failed`. */
export function makePipe(mkfifo: string, path: string, owner: number | null): void {
  const { status, stderr } = spawnSync(mkfifo, ['-m', '600', path], { encoding: 'utf8', timeout: mkfifoTimeoutMs })
  if (status !== 0) {
    throw new SteadError({
      code: 'sandbox.start-failed',
      message: `The pipe ${path} could not be made: ${stderr.trim()}.`,
      hint: 'See that the disk has room and is a file system that knows pipes.',
    })
  }
  if (owner !== null) chownSync(path, owner, owner)
}
