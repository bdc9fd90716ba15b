/** Lays out what the starts of a series read. Invariant: it belongs to the user that the programs run as, and to nobody else. */
import { chownSync, writeFileSync } from 'node:fs'

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
