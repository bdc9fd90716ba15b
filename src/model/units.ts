/**
 * Amounts as people write them: bytes (`256MB`) and durations (`30s`). Writing an amount out and reading it again gives
 * the same number. `MB` is a million bytes, `MiB` is 1024 x 1024: the units mean what the standards say.
 */

/** An amount of memory or storage: `256MB`, `1.5GiB`. */
export type Bytes = `${number}${'B' | 'KB' | 'MB' | 'GB' | 'TB' | 'KiB' | 'MiB' | 'GiB' | 'TiB'}`

/** A span of time: `500ms`, `30s`, `5m`, `1.5h`, `7d`. */
export type Duration = `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

/** Largest first, so that the first that divides evenly is the one to write. */
const byteUnits: readonly (readonly [string, number])[] = [
  ['TiB', 1024 ** 4],
  ['TB', 1000 ** 4],
  ['GiB', 1024 ** 3],
  ['GB', 1000 ** 3],
  ['MiB', 1024 ** 2],
  ['MB', 1000 ** 2],
  ['KiB', 1024],
  ['KB', 1000],
  ['B', 1],
]

const durationUnits: readonly (readonly [string, number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
]

function parse(units: readonly (readonly [string, number])[], text: string): number | null {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)([A-Za-z]+)$/.exec(text)
  const unit = units.find(([name]) => name === match?.[2])
  if (match === null || unit === undefined) return null
  const amount = Math.round(Number(match[1]) * unit[1])
  return Number.isSafeInteger(amount) ? amount : null
}

function format(units: readonly (readonly [string, number])[], amount: number, smallest: string): string {
  const unit = amount === 0 ? undefined : units.find(([, size]) => amount % size === 0)
  return unit === undefined ? `${amount}${smallest}` : `${amount / unit[1]}${unit[0]}`
}

/** Bytes in `text`, or null when it is no amount of bytes. */
export function parseBytes(text: string): number | null {
  return parse(byteUnits, text)
}

/** Milliseconds in `text`, or null when it is no duration. */
export function parseDuration(text: string): number | null {
  return parse(durationUnits, text)
}

/** The shortest exact way to write an amount of bytes: 256000000 is `256MB`. */
export function formatBytes(bytes: number): string {
  return format(byteUnits, bytes, 'B')
}

/** The shortest exact way to write milliseconds: 30000 is `30s`. */
export function formatDuration(ms: number): string {
  return format(durationUnits, ms, 'ms')
}
