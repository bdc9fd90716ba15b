/** Uptime and cost for people: what was worked out, from what, and what is not in it. */
import { assumptionLabels } from '../availability/assumptions.ts'
import type { Assumptions, PartKind } from '../availability/assumptions.ts'
import type { Rung } from '../availability/ladder.ts'
import type { Beside } from '../availability/design.ts'
import type { EntryUptime, UptimeReport } from '../availability/uptime.ts'
import type { Complexity } from '../complexity.ts'
import type { CostReport, CostSum } from '../cost/estimate.ts'
import type { Paint } from './paint.ts'

/** `8.8 h`, `5.3 min`, `3.2 s`, `32 ms`, `3 µs`. */
export function formatSeconds(seconds: number): string {
  const steps: readonly (readonly [number, string])[] = [
    [86_400, 'd'],
    [3600, 'h'],
    [60, 'min'],
    [1, 's'],
    [1e-3, 'ms'],
    [1e-6, 'µs'],
  ]
  const [size, unit] = steps.find(([limit]) => seconds >= limit) ?? [1e-6, 'µs']
  const value = seconds / size
  return `${value >= 100 ? Math.round(value) : Number(value.toPrecision(2))} ${unit}`
}

/** As many digits as tell it from its neighbours: `99.63 %`, `99.99964 %`. */
export function formatAvailability(availability: number): string {
  const digits = availability >= 1 ? 0 : Math.min(12, Math.max(2, Math.ceil(-Math.log10(1 - availability))))
  return `${Number((availability * 100).toFixed(digits))} %`
}

export function formatMoney(amount: number, currency: string): string {
  return `${amount.toFixed(2)} ${currency}`
}

const marks = { yes: '✓', no: '✗', unknown: '?' } as const

/** The whole report of `stead uptime`. */
export function uptimeText(report: UptimeReport, paint: Paint): string {
  if (report.entries.length === 0) return 'Nothing here serves anybody, so there is no uptime to work out.'
  const first = report.entries[0]
  return [
    ...report.entries.map((entry) => entryText(entry, paint)),
    ...(first === undefined ? [] : [ladderText(worst(report.entries), paint)]),
    [paint('bold', 'Not on the way of a request'), ...report.beside.map(besideText)].join('\n'),
    assumptionsText(report.assumptions, paint),
  ].join('\n\n')
}

function besideText({ label, neededTo, availability }: Beside): string {
  const figure = availability === null ? 'so every repair starts when somebody calls' : formatAvailability(availability)
  return `  to ${neededTo === 'start' ? 'start again' : 'notice'}: ${label} (${figure})`
}

function worst(entries: readonly EntryUptime[]): EntryUptime {
  const [first] = [...entries].sort((a, b) => a.availability - b.availability)
  if (first === undefined) throw new Error('there is at least one entry')
  return first
}

function entryText(entry: EntryUptime, paint: Paint): string {
  const money = (cost: number | null): string =>
    cost === null ? 'unpriced' : cost === 0 ? 'nothing more' : `${cost.toFixed(2)} a month more`
  return [
    `${paint('bold', entry.name)}  ${formatAvailability(entry.availability)} expected, ${formatSeconds(entry.downtimeSecondsPerYear)} down a year`,
    entry.singles.length === 0
      ? `  ${paint('green', 'nothing alone takes it down')}`
      : `  ${paint('red', `${entry.singles.length} single points of failure`)}: ${entry.singles.map(({ label }) => label).join(', ')}`,
    ...(entry.pairs.length === 0
      ? []
      : [
          `  ${entry.pairs.length} pairs that take it down together, the likeliest: ${(entry.pairs[0] ?? []).map(({ label }) => label).join(' and ')}`,
        ]),
    ...(entry.improvements.length === 0 ? [] : ['  what one more would buy:']),
    ...entry.improvements
      .slice(0, 5)
      .map(
        ({ what, availability, savedSecondsPerYear, costPerMonth }) =>
          `    ${what}: ${formatSeconds(savedSecondsPerYear)} less a year (${formatAvailability(availability)}), ${money(costPerMonth)}`,
      ),
  ].join('\n')
}

function ladderText(entry: EntryUptime, paint: Paint): string {
  const rows = entry.rungs.map((rung) => rungText(rung, entry))
  return [
    `${paint('bold', 'The levels')}  downtime of a year = (1 - availability) × 365.25 × 86,400 s`,
    ...rows,
    `  ${entry.name} is worked out at ${formatAvailability(entry.availability)} (${entry.nines.toFixed(1)} nines), and does not fail the demands up to ${entry.demandsMet < 2 ? 'none of the levels' : `${entry.demandsMet} nines`}.`,
  ].join('\n')
}

function rungText(rung: Rung, entry: EntryUptime): string {
  const here = entry.nines >= rung.nines && entry.nines < rung.nines + 1 ? ' <- worked out' : ''
  const percent = `${(rung.availability * 100).toFixed(Math.max(0, rung.nines - 2))} %`
  const head = `  ${percent.padEnd(14)} ${formatSeconds(rung.downtimeSecondsPerYear).padStart(8)}${rung.estimate ? '  (an estimate)' : ''}${here}`
  return [head, ...rung.demands.map(({ text, met }) => `      ${marks[met]} ${text}`)].join('\n')
}

function assumptionsText(figures: Assumptions, paint: Paint): string {
  const kinds = Object.keys(figures).filter((kind): kind is PartKind => kind in assumptionLabels)
  const lines = kinds.map((kind) => `${assumptionLabels[kind]} ${figures[kind] * 100} %`)
  return `${paint('bold', 'Assumed')}  ${lines.join(', ')}\n  ${paint('dim', 'Nobody measured these: replace them with what you measure, as in --assume node=0.9995')}`
}

/** One line for the summary of a check. */
export function uptimeLine(report: UptimeReport): string | null {
  if (report.entries.length === 0) return null
  const entry = worst(report.entries)
  const singles =
    entry.singles.length === 0 ? 'nothing alone takes it down' : `${entry.singles.length} things alone take it down`
  return `uptime: ${entry.name} ${formatAvailability(entry.availability)} expected (${formatSeconds(entry.downtimeSecondsPerYear)} down a year), ${singles}: stead uptime`
}

export function costLine(report: CostReport): string | null {
  if (report.resources === 0) return null
  const sums = report.sums.map(
    ({ currency, fixed, usage }) =>
      `${formatMoney(fixed, currency)} a month fixed${usage > 0 ? `, ${formatMoney(usage, currency)} by use` : ''}`,
  )
  return `cost: ${sums.length === 0 ? 'nothing priced' : sums.join(' and ')}, ${report.priced} of ${report.resources} resources priced${placeOf(report)}: stead prices`
}

export function complexityLine({ programs, interfaces, failureModes, platformParts, simpler }: Complexity): string {
  const counted = `complexity: ${programs} programs, ${interfaces} interfaces, ${failureModes} ways to fail`
  const platform = platformParts.length === 0 ? '' : `; the platform adds ${platformParts.length} parts`
  const instead =
    simpler === null
      ? ''
      : `; with ${simpler.together.length} of them in one process: ${simpler.programs}, ${simpler.interfaces} and ${simpler.failureModes}`
  return `${counted}${platform}${instead}`
}

function placeOf(report: CostReport): string {
  if (report.lines.length === 0) return ''
  const [oldest, newest] = [report.days[0] ?? '', report.days.at(-1) ?? '']
  return ` (${report.regions.join(', ')}; prices of ${oldest === newest ? oldest : `${oldest} to ${newest}`})`
}

/** The whole report of `stead prices PATHS`. */
export function costText(report: CostReport, change: readonly CostSum[] | null, paint: Paint): string {
  const lines = report.lines.map(({ object, what, quantity, unit, perMonth, price, fixed }) => [
    object,
    what,
    `${Number(quantity.toFixed(2))} ${unit}`,
    formatMoney(perMonth, price.currency),
    fixed ? 'fixed' : 'by use',
  ])
  const widths = [0, 1, 2, 3].map((column) => Math.max(0, ...lines.map((row) => (row[column] ?? '').length)))
  const padded = lines.map(
    (row) =>
      `  ${row.map((cell, column) => (column === 2 || column === 3 ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0))).join('  ')}`,
  )
  const sums = report.sums.map(
    ({ currency, fixed, usage }) =>
      `  ${formatMoney(fixed, currency)} fixed + ${formatMoney(usage, currency)} by use = ${formatMoney(fixed + usage, currency)} a month`,
  )
  const changes = (change ?? []).map(
    ({ currency, fixed, usage }) =>
      `  ${fixed + usage >= 0 ? '+' : ''}${formatMoney(fixed + usage, currency)} a month by this change`,
  )
  return [
    ...(padded.length === 0 ? [] : [padded.join('\n')]),
    [paint('bold', 'Sum'), ...(sums.length === 0 ? ['  nothing is priced'] : sums), ...changes].join('\n'),
    ...(report.formulas.length === 0
      ? []
      : [
          [
            paint('bold', 'By use that is not said'),
            ...report.formulas.map(
              ({ object, formula, currency, small, medium, large }) =>
                `  ${object}: ${formula} (small ${formatMoney(small, currency)}, medium ${formatMoney(medium, currency)}, large ${formatMoney(large, currency)})`,
            ),
          ].join('\n'),
        ]),
    ...(report.unpriced.length === 0
      ? []
      : [[paint('bold', 'Unpriced'), ...report.unpriced.map(({ object, why }) => `  ${object}: ${why}`)].join('\n')]),
    `${report.priced} of ${report.resources} resources priced${placeOf(report)}`,
  ].join('\n\n')
}
