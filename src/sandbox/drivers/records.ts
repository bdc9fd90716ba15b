/** Records and the files around them on disk. Invariant: a record is replaced whole, so a reader sees the old or the new one. */
import { spawnSync } from 'node:child_process'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { systemCodeOf } from '../../base/index.ts'
import { parseRecord } from '../record.ts'
import type { SandboxRecord } from '../record.ts'

/** The record in a directory; null when there is none. Throws `sandbox.record-unreadable`. */
export function readRecord(recordDir: string): SandboxRecord | null {
  const path = `${recordDir}/record.json`
  const text = readIfThere(path)
  return text === null ? null : parseRecord(text, path)
}

/** Replaces the record of a directory. */
export function writeRecord(recordDir: string, record: SandboxRecord): void {
  const path = `${recordDir}/record.json`
  writeFileSync(`${path}.new`, JSON.stringify(record), { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

/** The text of a file; null when it is not there. */
export function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return null
    throw error
  }
}

/** Names this run of the machine's kernel. */
export function bootId(): string {
  const linux = readIfThere('/proc/sys/kernel/random/boot_id')
  if (linux !== null) return linux.trim()
  return spawnSync('/usr/sbin/sysctl', ['-n', 'kern.bootsessionuuid'], {
    encoding: 'utf8',
    timeout: 5_000,
  }).stdout.trim()
}
