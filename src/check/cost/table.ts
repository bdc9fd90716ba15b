/** Price tables, read from their text. Invariant: every price has a currency, a unit, a source and the day it was true. */
import { SteadError } from '../../base/index.ts'
import { formatPosition, positionOf } from '../source.ts'
import type { SourceFile } from '../source.ts'

export interface PriceSource {
  readonly name: string
  /** As 2026-07-20. */
  readonly day: string
  readonly url: string
}

export interface Price {
  readonly vendor: string
  readonly region: string
  readonly currency: string
  readonly kind: string
  readonly name: string
  readonly unit: string
  readonly amount: number
  readonly source: PriceSource
}

export interface PriceTable {
  readonly prices: readonly Price[]
  find(vendor: string, region: string | null, kind: string, name: string, unit?: string): Price | null
}

/** Hours of a month, as vendors count them. */
export const monthHours = 730

/** Most prices of one table. */
const pricesMax = 200_000

const units: readonly string[] = ['hour', 'month', 'gb-month', 'iops-month', 'gb', 'million', 'gb-second']

/** Reads a table. Throws `check.bad-prices` with the line. */
export function parsePrices(source: SourceFile): PriceTable {
  const sources = new Map<string, PriceSource>()
  const prices: Price[] = []
  let region: { readonly vendor: string; readonly region: string; readonly currency: string } | null = null
  let offset = 0
  for (const raw of source.text.split('\n')) {
    const refuse = (message: string): SteadError => badPrices(source, offset, message)
    const [word = '', ...rest] = raw
      .replace(/#(?![^ ]).*$|^#.*$/, '')
      .trim()
      .split(/\s+/)
    if (word === 'source') {
      const [name = '', day = '', url = ''] = rest
      if (!/^\d{4}-\d{2}-\d{2}$/.test(day) || url === '')
        throw refuse('a source has a name, a day as 2026-07-20, and an address')
      sources.set(name, { name, day, url })
    } else if (word === 'region') {
      const [vendor = '', name = '', currency = ''] = rest
      if (!/^[A-Z]{3}$/.test(currency)) throw refuse('a region has a vendor, a name, and a currency of three capitals')
      region = { vendor, region: name, currency }
    } else if (word !== '') {
      const [unit = '', from = '', ...pairs] = rest
      const known = sources.get(from)
      if (region === null) throw refuse('prices stand below a region')
      if (!units.includes(unit)) throw refuse(`the unit must be one of ${units.join(', ')}`)
      if (known === undefined) throw refuse(`there is no source '${from}'`)
      for (const pair of pairs) {
        const equals = pair.lastIndexOf('=')
        const amount = Number(pair.slice(equals + 1))
        if (equals < 1 || !Number.isFinite(amount) || amount < 0) throw refuse(`'${pair}' is no name=price`)
        prices.push({ ...region, kind: word, name: pair.slice(0, equals), unit, amount, source: known })
      }
      if (prices.length > pricesMax) throw refuse(`a table may hold ${pricesMax} prices`)
    }
    offset += raw.length + 1
  }
  return tableOf(prices)
}

function badPrices(source: SourceFile, offset: number, message: string): SteadError {
  const place = formatPosition(positionOf({ source, offset }))
  return new SteadError({
    code: 'check.bad-prices',
    message: `${place}: ${message}.`,
    hint: '`stead prices` prints the built-in table as an example.',
  })
}

/** A table of prices; later ones win over earlier ones of the same thing. */
export function tableOf(prices: readonly Price[]): PriceTable {
  const index = new Map<string, Price>()
  const regions = new Map<string, string>()
  const key = (vendor: string, region: string, kind: string, name: string, unit: string): string =>
    [vendor, region, kind, name.toLowerCase(), unit].join('\0')
  for (const price of prices) {
    index.set(key(price.vendor, price.region, price.kind, price.name, price.unit), price)
    if (!regions.has(price.vendor)) regions.set(price.vendor, price.region)
  }
  const tried = (unit: string | undefined): readonly string[] => (unit === undefined ? units : [unit])
  return {
    prices: [...index.values()],
    find(vendor, region, kind, name, unit) {
      // Without a region the vendor's first one of the table counts, and every result says which it was. Of a zone, its region does.
      const wanted = region === null ? regions.get(vendor) : region
      const candidates =
        wanted === undefined
          ? []
          : [
              wanted,
              wanted.replace(/-\d$/, ''),
              vendor === 'Hetzner' && /^(?:fsn|nbg|hel)\d/.test(wanted) ? 'eu' : wanted,
            ]
      for (const candidate of candidates)
        for (const one of tried(unit)) {
          const found = index.get(key(vendor, candidate, kind, name, one))
          if (found !== undefined) return found
        }
      return null
    },
  }
}

/** Two tables as one: what the second has counts. */
export function mergeTables(first: PriceTable, second: PriceTable): PriceTable {
  return tableOf([...first.prices, ...second.prices])
}

export interface OwnMachine {
  /** What it was bought for. */
  readonly price: number
  /** Years it is used. */
  readonly years: number
  /** Watts it draws on average. */
  readonly watts: number
  /** Price of a kilowatt hour. */
  readonly perKilowattHour: number
}

/** What a machine of one's own costs a month: its price over its life, and its power. Not the room, not who looks after it. */
export function ownMachinePerMonth({ price, years, watts, perKilowattHour }: OwnMachine): {
  readonly machine: number
  readonly power: number
} {
  return { machine: price / (years * 12), power: (watts / 1000) * monthHours * perKilowattHour }
}
