/** `stead uptime`: how much of the time a design can be expected to answer, what alone takes it down, and what one more buys. */
import type { Command, Input } from '../command.ts'
import { usage } from '../command.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { paint, print } from '../terminal.ts'

export const uptimeCommand: Command = {
  name: 'uptime',
  usage: '[PATHS...]',
  summary: 'how available a design is, and what would make it more so',
  help: `  --assume KIND=FIGURE  what a single thing is taken to be: instance, node, zone, provider, dns, ... (may be repeated)
  --machine PRICE       what one more machine costs a month; without it, that is unpriced
  --objective PERCENT   with it: the error budget of 30 days, and when to wake somebody
  Reads what \`stead check\` reads, and asks nobody. Example: stead uptime . --assume node=0.9995`,
  options: { assume: { type: 'string', multiple: true }, machine: { type: 'string' }, objective: { type: 'string' } },
  argumentsMax: 10_000,
  run: uptime,
}

async function uptime(input: Input): Promise<ExitCode> {
  const { assume, assumptions, uptimeJson, uptimeOf, uptimeText } = await import('../../check/index.ts')
  const { readInputs } = await import('../checking/check-files.ts')
  const figures = assume(assumptions, input.texts('assume'))
  if (figures === null)
    throw usage(
      `--assume must be a kind and a figure from 0 to 1, not '${input.texts('assume').join(' ')}'`,
      `The kinds are: ${Object.keys(assumptions).join(', ')}. For example: --assume node=0.9995`,
    )
  const { inventory } = await readInputs(input.arguments.length === 0 ? ['.'] : input.arguments)
  const report = uptimeOf(inventory, { figures, machinePerMonth: amount(input, 'machine') })
  const budget = await budgetLines(input)
  if (input.json) print(JSON.stringify(uptimeJson(report)))
  else print([uptimeText(report, paint), ...budget].join('\n\n'))
  return exitCodes.ok
}

function amount(input: Input, name: string): number | null {
  const text = input.text(name)
  if (text === null) return null
  const value = Number(text)
  if (text === '' || !(value >= 0))
    throw usage(`--${name} must be a number, not '${text}'`, `For example: --${name} 20`)
  return value
}

async function budgetLines(input: Input): Promise<readonly string[]> {
  const percent = amount(input, 'objective')
  if (percent === null) return []
  if (percent >= 100)
    throw usage('--objective must be below 100: an objective of 100 % has no budget', 'For example: --objective 99.9')
  const { budgetSeconds, burnAlerts, formatSeconds, secondsToFire } = await import('../../check/index.ts')
  const objective = percent / 100
  return [
    [
      `${paint('bold', `An objective of ${percent} %`)}  ${formatSeconds(budgetSeconds(objective))} of 30 days may fail`,
      ...burnAlerts.map(
        (alert) =>
          `  ${alert.action} at ${alert.burnRate} times that rate over ${formatSeconds(alert.longSeconds)} and ${formatSeconds(alert.shortSeconds)}: ${alert.budgetSpent * 100} % of it is gone; a full outage fires it after ${formatSeconds(secondsToFire(alert, objective))}`,
      ),
    ].join('\n'),
  ]
}
