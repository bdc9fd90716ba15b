/** `stead rollback`: back to an earlier release, its code alone or with the data of then. */
import type { BackPreview, BackWish } from '../../operator/index.ts'
import { describeReport, reportOf } from '../../release/index.ts'
import { type Command, type Input, usage } from '../command.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { cutOff, followRelease, settle } from '../follow-release.ts'
import { needTarget, type Target } from '../target.ts'
import { note, print, Steps } from '../terminal.ts'

export const rollbackCommand: Command = {
  name: 'rollback',
  usage: '[RELEASE]',
  summary: 'back to an earlier release; with --with-data the data goes back too, and what is left behind is listed',
  help: `  RELEASE            a number of \`stead releases\`; without it the one that served before
  --code-only        the code alone: nothing that was written is lost
  --with-data        the data as it was before the next release; what is written since is kept as a branch
  --checkpoint NAME  with the data of that checkpoint, and the release that served when it was made
  --preview          say what would be left behind, and change nothing
  --cancel           take back the release that is being rolled out
  --app APP          a directory (default: here), or the name of an app that \`stead serve\` runs
  --json             as JSON
  Without --code-only and --with-data it is the code alone, and refused where that cannot work.
  Exit code 1 when it did not come to its end; it says what serves.
  Example: stead rollback --with-data --app shop`,
  options: {
    app: { type: 'string' },
    'code-only': { type: 'boolean' },
    'with-data': { type: 'boolean' },
    checkpoint: { type: 'string' },
    preview: { type: 'boolean' },
    cancel: { type: 'boolean' },
  },
  argumentsMax: 1,
  async run(input) {
    const wish = wishOf(input)
    const target = await needTarget(input.text('app'))
    if (input.flag('cancel')) return cancel(target, input.json)
    return input.flag('preview') ? preview(target, wish, input.json) : back(target, wish, input.json)
  },
}

function wishOf(input: Input): BackWish {
  const [word = null] = input.arguments
  const number = word === null ? null : Number(word)
  if (number !== null && (!Number.isInteger(number) || number < 1))
    throw usage(`${word ?? ''} is not the number of a release`, 'See `stead releases`; the app is named with --app.')
  const [codeOnly, withData] = [input.flag('code-only'), input.flag('with-data')]
  const checkpoint = input.text('checkpoint')
  if (codeOnly && (withData || checkpoint !== null))
    throw usage('--code-only leaves the data as it is', 'Say either --code-only, or --with-data or --checkpoint.')
  if (checkpoint !== null && number !== null)
    throw usage('a checkpoint knows its release', 'Say either a release or --checkpoint.')
  return { target: number, withData: codeOnly ? false : withData || checkpoint !== null ? true : null, checkpoint }
}

async function cancel({ operator, app }: Target, json: boolean): Promise<ExitCode> {
  await operator.releases.cancel(app)
  if (json) print(JSON.stringify({ app, cancelled: true }))
  else note(`It is being taken back: \`stead releases --app ${app}\`.`)
  return exitCodes.ok
}

async function preview({ operator, app }: Target, wish: BackWish, json: boolean): Promise<ExitCode> {
  const found = await operator.releases.preview(app, wish)
  if (json) print(JSON.stringify({ app, ...found }))
  else {
    const { live } = await operator.releases.list(app)
    for (const line of previewLines(app, live, found)) print(line)
  }
  return exitCodes.ok
}

function previewLines(
  app: string,
  live: number,
  { target, checkpoint, preview: found }: BackPreview,
): readonly string[] {
  if (checkpoint === null || found === null)
    return [`Going back from release ${live} to ${target}, code only: nothing is left behind.`]
  const compared = { changes: found.changes, effects: [], exact: false, gaps: found.gaps }
  const positions = Object.entries(found.positions).map(([part, position]) => `${part} ${position}`)
  return [
    ...describeReport(
      reportOf({ app, from: live, to: target, reason: null, checkpoint, branch: null, compared, external: [] }),
    ),
    `As of ${positions.join(', ')}. Counted as it happened; the exact report is made from the branch.`,
  ]
}

async function back({ operator, app }: Target, wish: BackWish, json: boolean): Promise<ExitCode> {
  const steps = new Steps(json)
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort(new Error('SIGINT')))
  const startMs = performance.now()
  const release = await operator.releases.back(app, wish)
  try {
    const status = await followRelease(operator, app, release, steps, stop.signal)
    settle(app, status, json)
    const { urls } = await operator.status(app)
    if (json)
      print(
        JSON.stringify({
          app,
          release,
          state: status.state,
          report: status.report,
          urls,
          tookMs: Math.round(performance.now() - startMs),
        }),
      )
    else for (const url of urls) print(url)
  } catch (error) {
    throw cutOff(app, stop.signal.aborted, error)
  }
  return exitCodes.ok
}
