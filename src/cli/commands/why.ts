/** `stead why`: how a part ended when nobody had asked for it, and what it said last. */
import { systemClock } from '../../base/index.ts'
import { formatBytes } from '../../model/index.ts'
import type { PartStatus } from '../../operator/index.ts'
import type { LogLine } from '../../protocol/index.ts'
import { type Command, helpOf, usage } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { needTarget, type Target } from '../target.ts'
import { duration, note, paint, print } from '../terminal.ts'

/** Lines of what it printed that are looked at, and of those how many before the end are shown. */
const tailLines = 5000
const usualLines = 40
/** What is printed at the very end may be written down a little later. */
const lateMs = 500

export const whyCommand: Command = {
  name: 'why',
  usage: 'PART[/INSTANCE]',
  summary: 'how a part ended by itself, and what it said last',
  help: `  --lines      how many lines before the end (${usualLines})
  --app APP    the app of the part, when it is not the one here
  --json       as JSON
  The last end that nobody had asked for is kept with what the program printed until then, over restarts of the platform. Of
  Python an uncaught error prints the values of its last functions too; names that look like secrets are not shown.
  Exits with 1 when nothing of the part has ended by itself.
  Example: stead why web`,
  options: { lines: { type: 'string' }, app: { type: 'string' } },
  argumentsMax: 1,
  async run(input) {
    const [word] = input.arguments
    if (word === undefined) throw usage('stead why needs a part', helpOf(whyCommand))
    const [part = '', instance = null] = word.split('/')
    const target = await needTarget(input.text('app'))
    const { parts } = await target.operator.status(target.app)
    const ended = parts
      .filter((one) => one.part === part && (instance === null || (one.instance ?? '').endsWith(instance)))
      .flatMap((one) => (one.lastEnd === undefined ? [] : [{ ...one, lastEnd: one.lastEnd }]))
      .toSorted((a, b) => b.lastEnd.timeMs - a.lastEnd.timeMs)
    const [newest] = ended
    if (newest === undefined) {
      if (input.json) print(JSON.stringify(null))
      else note(`nothing of ${word} has ended by itself`)
      return exitCodes.failed
    }
    const lines = (await linesUntil(target, newest)).slice(-(input.number('lines', 1, tailLines) ?? usualLines))
    if (input.json) print(JSON.stringify({ part, instance: newest.instance, ...newest.lastEnd, lines }))
    else show(newest, lines)
    return exitCodes.ok
  },
}

type Ended = PartStatus & { readonly lastEnd: NonNullable<PartStatus['lastEnd']> }

/** What the instance printed until it ended. */
async function linesUntil({ operator, app }: Target, { part, instance, lastEnd }: Ended): Promise<LogLine[]> {
  const { signal } = new AbortController()
  const all = await Array.fromAsync(operator.logs(app, part, { tail: tailLines, follow: false, signal }))
  return all.filter(({ assignment, timeMs }) => {
    const isOwn = instance === null || assignment === instance
    return isOwn && timeMs <= lastEnd.timeMs + lateMs
  })
}

function show({ part, instance, phase, restarts, lastEnd }: Ended, lines: readonly LogLine[]): void {
  const ago = duration(systemClock.nowMs() - lastEnd.timeMs)
  const since = restarts === 0 ? '' : `, after ${restarts} restarts`
  print(
    `${paint('bold', instance ?? part)} ${lastEnd.sentence}, ${ago} ago, in its start ${lastEnd.attempt}; now it is ${phase}${since}`,
  )
  if (lastEnd.core !== undefined) {
    const cut = lastEnd.core.isCut ? ', cut off there' : ''
    note(`What it held in memory is kept (${formatBytes(lastEnd.core.bytes)}${cut}): stead core ${part}`)
  }
  if (lines.length === 0) return note('It had printed nothing that is kept.')
  print(paint('dim', '\nIts last lines:'))
  for (const { timeMs, text } of lines) print(`${paint('dim', new Date(timeMs).toISOString().slice(11, 23))} ${text}`)
}
