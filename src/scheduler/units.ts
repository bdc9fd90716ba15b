/**
 * Quantities to exact integers: thousandths of a core, bytes, bits per second. Sums of integers are exact, so what is
 * given back equals what was taken, whatever the order; that is why fractions of these units are refused.
 */
import { badInput } from './errors.ts'
import { amountMax } from './limits.ts'
import type { Quantity } from './model.ts'

const bytesOf: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
}
const bitsOf: Readonly<Record<string, number>> = {
  'bit/s': 1,
  'kbit/s': 1e3,
  'Mbit/s': 1e6,
  'Gbit/s': 1e9,
  'Tbit/s': 1e12,
}
const milliOf: Readonly<Record<string, number>> = { m: 1, '': 1000 }

function read(
  what: string,
  value: Quantity,
  units: Readonly<Record<string, number>>,
  bare: number,
  unit: string,
): number {
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)([A-Za-z/]*)$/.exec(value) : null
  const size = typeof value === 'number' ? bare : units[match?.[2] ?? '?']
  const amount = size === undefined ? Number.NaN : Number(match?.[1] ?? value) * size
  const whole = Math.round(amount)
  // A text like 0.1 is no exact double; what is off by more than rounding was a fraction.
  if (whole >= 0 && whole <= amountMax && Math.abs(whole - amount) <= 1e-6 + amount * 2 ** -50) return whole
  const known = Object.keys(units).filter((name) => name !== '')
  throw badInput(what, `a number of at least 0 in whole ${unit}, or a text with a unit (${known.join(', ')})`, value)
}

/** Thousandths of a core, from cores (2, 0.5) or '500m'. */
export function readCpuMilli(what: string, value: Quantity): number {
  return read(what, value, milliOf, 1000, 'thousandths of a core')
}

/** Bytes, from a number of them or '512MB', '2GiB'. */
export function readBytes(what: string, value: Quantity): number {
  return read(what, value, bytesOf, 1, 'bytes')
}

/** Bits per second, from a number of them or '100Mbit/s'. */
export function readBitsPerSecond(what: string, value: Quantity): number {
  return read(what, value, bitsOf, 1, 'bits per second')
}

/** A whole number in a range. */
export function readWhole(what: string, value: unknown, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max)
    throw badInput(what, `a whole number from ${min} to ${max}`, value)
  return value
}

/** A finite number in a range. */
export function readNumber(what: string, value: unknown, min: number, max: number): number {
  if (typeof value !== 'number' || !(value >= min && value <= max))
    throw badInput(what, `a number from ${min} to ${max}`, value)
  return value
}

const names = /^[\x21-\x2e\x30-\x7e]{1,253}$/

/** A name: printable ASCII without '/' and blanks. */
export function readName(what: string, value: unknown): string {
  if (typeof value !== 'string' || !names.test(value))
    throw badInput(what, "1 to 253 printable ASCII characters without '/' and blanks", value)
  return value
}

const spoken: readonly (readonly [number, string])[] = [
  [2 ** 40, 'TiB'],
  [2 ** 30, 'GiB'],
  [2 ** 20, 'MiB'],
  [2 ** 10, 'KiB'],
]

function trimmed(value: number): string {
  return String(Math.round(value * 100) / 100)
}

/** An amount of a resource as a person reads it: '1.5 cores', '300 MiB', '2 licences'. */
export function formatAmount(resource: string, amount: number): string {
  if (resource === 'cpu') return `${trimmed(amount / 1000)} ${amount === 1000 ? 'core' : 'cores'}`
  if (resource === 'memory' || resource === 'disk') {
    const unit = spoken.find(([size]) => amount >= size)
    return unit === undefined ? `${amount} B ${resource}` : `${trimmed(amount / unit[0])} ${unit[1]} ${resource}`
  }
  if (resource === 'network') {
    const unit = Object.entries(bitsOf).findLast(([, size]) => amount >= size) ?? ['bit/s', 1]
    return `${trimmed(amount / unit[1])} ${unit[0]} network`
  }
  return `${amount} ${resource}`
}
