/** `stead snapshot`: values as a line is passed, without a stop. */
import { type Hit, snapshotHitsMax } from '../../debug/index.ts'
import { type Command, helpOf, usage } from '../command.ts'
import { awake, lookHelp, lookInto, lookOptions, untilInterrupted } from '../debugging.ts'
import { exitCodes } from '../exit-codes.ts'
import { note, paint, print } from '../terminal.ts'

const usualHits = 10
const usualSeconds = 30

export const snapshotCommand: Command = {
  name: 'snapshot',
  usage: 'PART[/INSTANCE] FILE:LINE EXPRESSION...',
  summary: 'values as a line is passed, without a stop',
  help: `${lookHelp}
  --if         only where this expression holds
  --hits       how often (${usualHits}); the probe then removes itself
  --seconds    how long it waits for that (${usualSeconds})
  --json       as JSON
  Values of names that look like secrets are not shown. A hit costs about a quarter of a millisecond of the program's time.
  Exits with 1 when the line was not passed.
  Example: stead snapshot web src/web.ts:42 order.id 'order.items.length' --if 'order.total > 100'`,
  options: { ...lookOptions, if: { type: 'string' }, hits: { type: 'string' }, seconds: { type: 'string' } },
  argumentsMax: 22,
  async run(input) {
    const [where, ...expressions] = input.arguments.slice(input.text('pid') === null ? 1 : 0)
    const [, file, line] = /^(.+):(\d+)$/.exec(where ?? '') ?? []
    if (file === undefined || line === undefined || expressions.length === 0) {
      throw usage('stead snapshot needs FILE:LINE and at least one expression', helpOf(snapshotCommand))
    }
    const hits = input.number('hits', 1, snapshotHitsMax) ?? usualHits
    const seconds = input.number('seconds', 1, 3600) ?? usualSeconds
    const condition = input.text('if')
    const request = { file, line: Number(line), expressions, hits, timeMs: seconds * 1000 }
    using _awake = awake()
    const { looked } = await lookInto(input, snapshotCommand, 'snapshot')
    await using open = looked
    const report = await open.snapshot(condition === null ? request : { ...request, condition }, untilInterrupted())
    if (input.json) print(JSON.stringify(report))
    else for (const hit of report.hits) show(hit)
    if (report.hits.length > 0) return exitCodes.ok
    note(`${report.file}:${report.line} was not passed within ${seconds} s`)
    return exitCodes.failed
  },
}

function show({ timeMs, values }: Hit): void {
  print(paint('dim', new Date(timeMs).toISOString()))
  for (const { expression, value, error } of values) {
    print(`  ${expression} = ${error === undefined ? JSON.stringify(value) : paint('red', error)}`)
  }
}
