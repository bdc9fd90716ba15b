/** `stead snapshot`: values as a line is passed, without a stop. */
import { type Hit, snapshotCpuMs, snapshotHitsMax, type SnapshotReport } from '../../debug/index.ts'
import { type Command, helpOf, usage } from '../command.ts'
import { awake, lookHelp, lookInto, lookOptions, lookWords, untilInterrupted } from '../debugging.ts'
import { exitCodes } from '../exit-codes.ts'
import { note, paint, print } from '../terminal.ts'

/** FILE:LINE. */
const placePattern = /^(.+):(\d+)$/
const usualHits = 10
const usualSeconds = 30

export const snapshotCommand: Command = {
  name: 'snapshot',
  usage: 'PART[/INSTANCE] [APP] FILE:LINE EXPRESSION...',
  summary: 'values as a line is passed, without a stop',
  help: `${lookHelp}
  --if         only where this expression holds
  --hits       how often (${usualHits}); the probe then removes itself
  --seconds    how long it waits for that (${usualSeconds})
  --cpu MS     how much of the program's time it may take in all (${snapshotCpuMs})
  --force      also on a line that is passed so often that the program feels it; what it may take stays
  --json       as JSON
  Values of names that look like secrets are not shown. Each time that the line is passed costs the program about a quarter of a
  millisecond in Node, and some milliseconds in languages that are stopped for it, with --if also where that does not hold.
  Exits with 1 when nothing was seen, or the line is passed too often.
  Example: stead snapshot web src/web.ts:42 order.id 'order.items.length' --if 'order.total > 100'`,
  options: {
    ...lookOptions,
    if: { type: 'string' },
    hits: { type: 'string' },
    seconds: { type: 'string' },
    cpu: { type: 'string' },
    force: { type: 'boolean' },
  },
  argumentsMax: 23,
  async run(input) {
    const words = lookWords(input, snapshotCommand, (word) => placePattern.test(word))
    const [where, ...expressions] = words.rest
    const [, file, line] = placePattern.exec(where ?? '') ?? []
    if (file === undefined || line === undefined || expressions.length === 0) {
      throw usage('stead snapshot needs FILE:LINE and at least one expression', helpOf(snapshotCommand))
    }
    const hits = input.number('hits', 1, snapshotHitsMax) ?? usualHits
    const seconds = input.number('seconds', 1, 3600) ?? usualSeconds
    const condition = input.text('if')
    const cpuMs = input.number('cpu', 1, 60_000) ?? snapshotCpuMs
    const budget = { hits, timeMs: seconds * 1000, cpuMs, force: input.flag('force') }
    const request = { file, line: Number(line), expressions, ...budget }
    using _awake = awake()
    await using open = await lookInto(input, snapshotCommand, 'snapshot', { words })
    const report = await open.snapshot(condition === null ? request : { ...request, condition }, untilInterrupted())
    if (input.json) print(JSON.stringify(report))
    else for (const hit of report.hits) show(hit)
    const wrong = troubleOf(report, seconds)
    if (wrong !== null) note(wrong)
    return report.hits.length === 0 || report.ended === 'too-often' ? exitCodes.failed : exitCodes.ok
  },
}

/** Why there is less than was asked for, and what to do; null when there is not. */
function troubleOf({ file, line, hits, ended, passes, costMs = 0 }: SnapshotReport, seconds: number): string | null {
  const place = `${file}:${line}`
  const cost = `${passes === undefined ? '' : `${passes} passes, `}${costMs} ms of its time`
  if (ended === 'too-often')
    return `${place} is passed so often that the program would feel it (${cost}): look at a line that is passed less, or --force`
  if (ended === 'cost') return `${place}: the time that it may take is spent (${cost}); --cpu gives it more`
  if (hits.length > 0) return null
  return (passes ?? 0) > 0
    ? `${place} was passed ${passes} times within ${seconds} s, and the condition never held`
    : `${place} was not passed within ${seconds} s`
}

function show({ timeMs, values }: Hit): void {
  print(paint('dim', new Date(timeMs).toISOString()))
  for (const { expression, value, asWritten, error } of values) {
    const text = asWritten === true ? String(value) : JSON.stringify(value)
    print(error === undefined ? `  ${expression} = ${text}` : `  ${expression}: ${paint('red', error)}`)
  }
}
