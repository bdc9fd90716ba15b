/** What both drivers do with records of the past: adopt, read output, remove. */
import { rmSync } from 'node:fs'
import { SteadError } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import type { LimitGroup, LimitGroups } from '../cgroup.ts'
import type { OutputLine, OutputOptions, Sandbox } from '../driver.ts'
import type { SandboxRecord } from '../record.ts'
import { readOutput } from './output-files.ts'
import { isAlive } from './processes.ts'
import { readRecord } from './records.ts'
import { RunningSandbox, isOver } from './running.ts'
import type { RunningParts } from './running.ts'

/** The sandbox of a record. Throws `sandbox.other-driver` when another driver made it. */
export function adoptSandbox(
  driver: string,
  recordDir: string,
  groups: LimitGroups | null,
  parts: (record: SandboxRecord, group: LimitGroup | null) => RunningParts,
): Sandbox | null {
  const record = readRecord(recordDir)
  if (record === null) return null
  if (record.driver !== driver) {
    throw new SteadError({
      code: 'sandbox.other-driver',
      message: `The sandbox ${record.id} was started by the ${record.driver} driver, not by ${driver}.`,
      hint: `Adopt ${recordDir} with the driver that started it.`,
    })
  }
  return new RunningSandbox(parts(record, record.grouped ? (groups?.open(record.id) ?? null) : null))
}

/** Kept output of a record directory. */
export function outputOf(recordDir: string, options: OutputOptions, clock: Clock): AsyncIterable<OutputLine> {
  return readOutput(`${recordDir}/output`, options, clock, () => {
    const record = readRecord(recordDir)
    // The logger may still hold the last lines when the program is gone.
    return record === null || (isOver(record) && !isAlive(record.processes?.logger ?? null))
  })
}

/** Removes records and limit group. Throws `sandbox.still-runs`. */
export async function removeRecords(recordDir: string, groups: LimitGroups | null): Promise<void> {
  const record = readRecord(recordDir)
  if (record === null) return
  if (!isOver(record)) {
    throw new SteadError({
      code: 'sandbox.still-runs',
      message: `The records of ${record.id} cannot be removed: its program still runs.`,
      hint: 'Kill it first.',
      retry: 'later',
    })
  }
  if (record.grouped) await groups?.open(record.id).remove()
  rmSync(recordDir, { recursive: true, force: true })
}
