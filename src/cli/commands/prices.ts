/** `stead prices`: what a plan or template costs, from a table of prices with their sources and days; and that table. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import type { PriceTable, SourceFile } from '../../check/index.ts'
import type { Command, Input } from '../command.ts'
import { usage } from '../command.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { paint, print } from '../terminal.ts'

export const pricesName = 'stead-prices.txt'

export const pricesCommand: Command = {
  name: 'prices',
  usage: '[PATHS... | import FILE | own]',
  summary: 'what a plan costs a month, and from which prices',
  help: `  stead prices             the table: built in, and what stands in ${pricesName} beside you
  stead prices PATHS       the cost of what the paths hold: fixed, by use, and unpriced
  stead prices import FILE read a table and keep it in ${pricesName}; what it has counts before the built-in one
  stead prices own         what a machine of your own costs a month
  --usage FILE             how much is used, as resource_usage by address (YAML)
  --price, --years, --watts, --kwh   for own: what it was bought for, how long it is used, what it draws, what power costs
  Asks nobody. Example: stead prices plan.json --usage usage.yml`,
  options: {
    usage: { type: 'string' },
    price: { type: 'string' },
    years: { type: 'string' },
    watts: { type: 'string' },
    kwh: { type: 'string' },
  },
  argumentsMax: 10_000,
  run: prices,
}

async function prices(input: Input): Promise<ExitCode> {
  const [first, second] = input.arguments
  if (first === 'own') return own(input)
  if (first === 'import') {
    if (second === undefined)
      throw usage('stead prices import needs a file', 'For example: stead prices import eu-prices.txt')
    return importTable(read(second), input.json)
  }
  return first === undefined ? show(input.json) : cost(input)
}

function read(path: string): SourceFile {
  if (!existsSync(path)) throw usage(`there is no file ${path}`, 'See `stead prices --help`.')
  return { path, text: readFileSync(path, 'utf8') }
}

/** The built-in table, and over it the one that was imported. */
export async function readTable(): Promise<PriceTable> {
  const { builtInPrices, mergeTables, parsePrices } = await import('../../check/index.ts')
  const builtIn = parsePrices({ path: 'built-in prices', text: builtInPrices })
  return existsSync(pricesName) ? mergeTables(builtIn, parsePrices(read(pricesName))) : builtIn
}

async function show(json: boolean): Promise<ExitCode> {
  const table = await readTable()
  if (json) print(JSON.stringify(table.prices))
  else
    for (const { vendor, region, kind, name, amount, currency, unit, source } of table.prices)
      print(`${vendor} ${region}  ${kind} ${name}  ${amount} ${currency} / ${unit}  ${source.day} ${source.url}`)
  return exitCodes.ok
}

async function importTable(source: SourceFile, json: boolean): Promise<ExitCode> {
  const { parsePrices } = await import('../../check/index.ts')
  const table = parsePrices(source)
  writeFileSync(pricesName, source.text)
  print(
    json
      ? JSON.stringify({ prices: table.prices.length, file: pricesName })
      : `${table.prices.length} prices are in ${pricesName}; the built-in ones count where it has none.`,
  )
  return exitCodes.ok
}

async function cost(input: Input): Promise<ExitCode> {
  const { costChange, costJson, costText, estimate, readPriorState, readYaml, usageOf } =
    await import('../../check/index.ts')
  const { readInputs } = await import('../checking/check-files.ts')
  const { inventory, sources } = await readInputs(input.arguments)
  const named = input.text('usage')
  const tree = named === null ? null : (readYaml(read(named))[0]?.tree ?? null)
  const used = tree === null ? new Map() : usageOf(tree)
  const table = await readTable()
  const report = estimate(inventory, table, used)
  const before = sources
    .map((source) => estimate(readPriorState(source), table, used))
    .filter(({ resources }) => resources > 0)
  const change = before.length === 1 && before[0] !== undefined ? costChange(before[0], report) : null
  if (input.json) print(JSON.stringify({ ...Object(costJson(report)), change }))
  else print(costText(report, change, paint))
  return exitCodes.ok
}

async function own(input: Input): Promise<ExitCode> {
  const { ownMachinePerMonth } = await import('../../check/index.ts')
  const figure = (name: string): number => {
    const value = Number(input.text(name) ?? Number.NaN)
    if (!(value >= 0))
      throw usage(
        `stead prices own needs --${name}, a number`,
        'For example: stead prices own --price 1200 --years 4 --watts 80 --kwh 0.30',
      )
    return value
  }
  const years = figure('years')
  if (years === 0) throw usage('--years must be more than 0', 'For example: --years 4')
  const { machine, power } = ownMachinePerMonth({
    price: figure('price'),
    years,
    watts: figure('watts'),
    perKilowattHour: figure('kwh'),
  })
  const sum = machine + power
  print(
    input.json
      ? JSON.stringify({ machine, power, sum })
      : `${machine.toFixed(2)} for the machine + ${power.toFixed(2)} for power = ${sum.toFixed(2)} a month; the room, and who looks after it, are not in it`,
  )
  return exitCodes.ok
}
