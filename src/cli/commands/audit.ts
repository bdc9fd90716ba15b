/** `stead audit`: who did what on the daemon, when, from where, and how it ended; and whether the record is whole. */
import { parseDuration } from '../../model/index.ts'
import type { AuditLine, OperatorClient } from '../../operator/index.ts'
import { type Command, type Input, usage } from '../command.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { needDaemon } from '../target.ts'
import { paint, print } from '../terminal.ts'

export const auditCommand: Command = {
  name: 'audit',
  usage: '',
  summary: 'who did what, and whether the record is whole',
  help: `  --app APP     only what concerns APP
  --who NAME    only what NAME did
  --since 7d    only of that time (or a date: 2026-11-01)
  --verify      check that no line was changed, cut out or added; exit code 4 when one was
  --contains DIGEST   and that the line with this digest, noted down before, is in it
  --on ssh://HOST     the daemon there, instead of the one here
  --json        one JSON object a line
  Example: stead audit --app shop --since 1d`,
  options: {
    app: { type: 'string' },
    who: { type: 'string' },
    since: { type: 'string' },
    verify: { type: 'boolean' },
    contains: { type: 'string' },
    on: { type: 'string' },
  },
  argumentsMax: 0,
  async run(input) {
    const sinceMs = sinceOf(input)
    const operator = await needDaemon(input.text('on'))
    if (input.flag('verify') || input.text('contains') !== null) return verify(operator, input)
    const filter = { app: input.text('app'), who: input.text('who'), sinceMs }
    const begun = new Map<number, AuditLine>()
    for await (const line of operator.audit(filter)) {
      if (input.json) {
        print(JSON.stringify(line))
        continue
      }
      // What began and ended is one line for people.
      if (line.outcome === 'begun') begun.set(line.n, line)
      else {
        if (line.of !== null) begun.delete(line.of)
        print(shown(line))
      }
    }
    for (const line of begun.values()) print(shown(line))
    return exitCodes.ok
  },
}

async function verify(operator: OperatorClient, input: Input): Promise<ExitCode> {
  const verdict = await operator.verifyAudit(input.text('contains'))
  if (input.json) print(JSON.stringify(verdict))
  else if (verdict.intact) {
    const from =
      verdict.first === null || verdict.first === 1 ? '' : `, from number ${verdict.first} on (older ones were dropped)`
    print(`${paint('green', 'whole')}: ${verdict.lines} lines${from}`)
    print(`the last one: ${verdict.head.hash}`)
  } else print(`${paint('red', 'not whole')}: ${verdict.fault}`)
  return verdict.intact ? exitCodes.ok : exitCodes.degraded
}

function shown({ at, who, from, operation, app, part, outcome, code, omitted }: AuditLine): string {
  const colour = outcome === 'done' ? 'green' : outcome === 'begun' ? 'yellow' : 'red'
  const what = operation
    .replace('/:app', app === null ? '/:app' : `/${app}`)
    .replace(/\/:(?:part|person)/, part === null ? '' : `/${part}`)
  const end = outcome === 'begun' ? 'begun, end unknown' : code === null ? outcome : `${outcome}: ${code}`
  const more = omitted === 0 ? '' : `  and ${omitted} more like it before`
  return `${paint('dim', at)}  ${who.padEnd(10)} ${paint('dim', from.padEnd(16))} ${what}  ${paint(colour, end)}${more}`
}

function sinceOf(input: Input): number | null {
  const given = input.text('since')
  if (given === null) return null
  const agoMs = parseDuration(given)
  const atMs = agoMs === null ? Date.parse(given) : Date.now() - agoMs
  if (Number.isFinite(atMs)) return Math.max(Math.round(atMs), 0)
  throw usage(`--since must be a time or a date, not '${given}'`, 'For example: --since 7d, or --since 2026-11-01')
}
