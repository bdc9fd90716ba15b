/** Amounts as people type them for jobs. Invariant: an unknown unit is refused, never guessed. */
import { usage } from '../command.ts'

const bytesOf: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
}

const msOf: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Bytes of `512MiB`, `2G`. Throws `cli.usage`. */
export function readBytes(option: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)([A-Za-z]+)$/.exec(text)
  const unit = bytesOf[match?.[2] ?? '']
  if (match === null || unit === undefined)
    throw usage(`--${option} must be an amount with a unit, not '${text}'`, `For example: --${option} 512MiB`)
  return Math.round(Number(match[1]) * unit)
}

/** Milliseconds of `90s`, `10m`, `2h`, `1d`, or as Slurm has it: minutes, or `[DAYS-]HOURS:MINUTES:SECONDS`. Throws `cli.usage`. */
export function readDuration(option: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)([smhd])$/.exec(text)
  const unit = msOf[match?.[2] ?? '']
  if (match !== null && unit !== undefined) return Math.round(Number(match[1]) * unit)
  throw usage(`--${option} must be a time with a unit, not '${text}'`, `For example: --${option} 30m`)
}

/** A moment, `2026-12-24T22:00`, in the time zone here; or `2h`, from now. Milliseconds since 1970. Throws `cli.usage`. */
export function readMoment(option: string, text: string, nowMs: number): number {
  const match = /^(\d{1,6}(?:\.\d+)?)([smhd])$/.exec(text)
  const atMs =
    match !== null
      ? nowMs + Math.round(Number(match[1]) * (msOf[match[2] ?? ''] ?? Number.NaN))
      : /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)?)?$/.test(text)
        ? Date.parse(text)
        : Number.NaN
  if (Number.isFinite(atMs)) return atMs
  throw usage(
    `--${option} must be a moment, not '${text}'`,
    `For example: --${option} 2026-12-24T22:00, or --${option} 2h`,
  )
}

const bitsOf: Readonly<Record<string, number>> = { 'kbit/s': 1e3, 'Mbit/s': 1e6, 'Gbit/s': 1e9 }

/** Bits per second of `20Mbit/s`. Throws `cli.usage`. */
export function readRate(option: string, text: string): number {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(kbit\/s|Mbit\/s|Gbit\/s)$/.exec(text)
  const bits = Math.round(Number(match?.[1]) * (bitsOf[match?.[2] ?? ''] ?? Number.NaN))
  if (bits > 0) return bits
  throw usage(`--${option} must be a rate, not '${text}'`, `For example: --${option} 20Mbit/s`)
}

/** Cores: 2, 0.5, 500m. Throws `cli.usage`. */
export function readCores(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(m?)$/.exec(text)
  if (match === null) throw usage(`--cpu must be a number of cores, not '${text}'`, 'For example: --cpu 2')
  return Number(match[1]) / (match[2] === 'm' ? 1000 : 1)
}
