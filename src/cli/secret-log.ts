/**
 * The record of who opened which secret, one JSON object a line: time, app, name, version, by whom. Never a value.
 *
 * Invariant: a value is handed out only after its line was written; the record takes no more than twice `fileBytesMax`, the
 * oldest lines go first.
 */
import { appendFileSync, renameSync, statSync } from 'node:fs'
import { systemClock } from '../base/index.ts'
import type { SecretRead } from '../secrets/index.ts'

const fileBytesMax = 1024 * 1024

/** Writes to the file at `path`, and keeps the one before as `path.1`. What it throws keeps the value from being handed out. */
export function secretLog(path: string): (read: SecretRead) => void {
  return ({ app, name, version, by }) => {
    const bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0
    if (bytes >= fileBytesMax) renameSync(path, `${path}.1`)
    const line = { time: new Date(systemClock.nowMs()).toISOString(), app, name, version, by }
    appendFileSync(path, `${JSON.stringify(line)}\n`, { mode: 0o600 })
  }
}
