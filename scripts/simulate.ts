/**
 * A trace in virtual time under several orders: a table, and a plot with --svg.
 *
 *     scripts/node scripts/simulate.ts LOG [--orders fcfs,conservative,easy] [--load 1.5] [--jobs 5000] [--svg plot.svg]
 *
 * LOG is a log in the Standard Workload Format (.swf, also gzipped) or JSON of our own. --load lets submissions come so
 * many times as fast, because logs of machines that were rarely full show little.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { gunzipSync } from 'node:zlib'
import {
  compressed,
  readSwf,
  readTrace,
  simulate,
  simulationSvg,
  simulationTable,
  type Order,
} from '../src/scheduler/index.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    orders: { type: 'string', default: 'fcfs,conservative,easy' },
    load: { type: 'string', default: '1' },
    jobs: { type: 'string', default: '' },
    svg: { type: 'string', default: '' },
  },
})
const [path = ''] = positionals
const bytes = readFileSync(path)
const text = (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8')
const whole = /\.swf(?:\.gz)?$/.test(path) ? readSwf(text) : readTrace(text)
const chosen = values.jobs === '' ? whole : { ...whole, jobs: whole.jobs.slice(0, Number(values.jobs)) }
const trace = compressed(chosen, Number(values.load))
const results = (values.orders.split(',') as Order[]).map((order) => {
  const start = process.cpuUsage()
  const result = simulate(trace, { order })
  process.stderr.write(`${order}: ${(process.cpuUsage(start).user / 1e6).toFixed(1)} s CPU\n`)
  return [order, result] as const
})
process.stdout.write(`${simulationTable(results)}\n`)
if (values.svg !== '')
  writeFileSync(values.svg, simulationSvg(`${path.split('/').at(-1)}, load ${values.load}`, results))
