/** `stead restore`: look at a checkpoint beside the running app, or bring a backup back, and decide. */
import { basesFor, bringBackAt } from '../backup-log.ts'
import { backupOf, bringBack, needLocal, needPlace, openPlace, placeHelp, placeOptions } from '../backups.ts'
import { type Command, type Input, usage } from '../command.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import type { OperatorClient, RestoreWish } from '../../operator/index.ts'
import type { DataAnswers } from '../../protocol/index.ts'
import { bringUp } from '../bring-up.ts'
import { runThere, serverIn } from '../remote/there.ts'
import { daemonClient, needTarget } from '../target.ts'
import { note, print, Steps } from '../terminal.ts'
import { openBranch } from './branch.ts'

export const restoreCommand: Command = {
  name: 'restore',
  usage: '--look COPY | --at MOMENT | [APP] --from TARGET',
  summary: 'open a checkpoint beside the running app, or bring a backup back, to look at it before deciding',
  help: `  --look COPY    a checkpoint, or what a return left behind, of \`stead releases\`
  --app APP      a directory (default: here), or the name of an app that \`stead serve\` runs
  --at MOMENT    a checkpoint brought forward along the log of its databases, as a checkpoint of its own: a time as
                 2026-11-29T20:15:00, a position in the log as 0/3A1B2C0, or the name of a checkpoint, which names its
                 moment in the log and may be deleted since; \`end\` is where the log ends. Nothing live is touched
    --log COPY   along the log of what a return left behind, instead of that of now
    --name NAME  what to call it; else at-MOMENT
    --confirm    take a time although nothing keeps the clock of the machine
  [APP] --from TARGET
                 the newest backup there becomes a checkpoint of the app, beside its data, which is not touched. Where
                 \`stead serve\` runs and has no such app, it is brought up: code, secrets, data, and then itself;
                 where its data is in PostgreSQL alone, up to where the log there ends
    --id ID      another one of \`stead backup ls\`
    --at MOMENT  the newest one from before that, brought forward along the log that was carried there after it;
                 \`end\`: as far as that leads
    --name NAME  what to call the checkpoint; else restored-ID
    --to DIR     its files into an empty directory instead; the app need not run, or be here at all
  ssh://HOST/APP in the place of APP: it is done there, and TARGET is that server's.
${placeHelp}
  --json  one JSON object a line instead of text
  What is opened is a copy of that copy, with the release of then: nothing that is done there changes the checkpoint.
  Example: stead restore --look before-7
           stead restore shop --from /mnt/disk/backups --at 2026-11-29T20:15:00`,
  options: {
    app: { type: 'string' },
    look: { type: 'string' },
    at: { type: 'string' },
    log: { type: 'string' },
    confirm: { type: 'boolean' },
    from: { type: 'string' },
    id: { type: 'string' },
    name: { type: 'string' },
    to: { type: 'string' },
    ...placeOptions,
  },
  argumentsMax: 1,
  async run(input) {
    const moment = input.text('at')
    const server = serverIn(input)
    if (input.text('from') !== null && server !== null)
      return runThere(server, {
        command: restoreCommand,
        input,
        namesApp: true,
        needs: { name: 'restic', program: 'restic' },
      })
    if (input.text('from') !== null) return fromBackup(input, moment)
    if (moment !== null) return atMoment(input, moment)
    const copy = input.text('look')
    const [word] = input.arguments
    if (copy === null || word !== undefined)
      throw usage(
        'what is to be looked at?',
        'As in `stead restore --look before-7`, or `stead restore shop --from /mnt/disk/backups`; `stead rollback` goes back.',
      )
    return look(input, copy)
  },
}

async function look(input: Input, from: string): Promise<ExitCode> {
  const { operator, app } = await needTarget(input.text('app'))
  const name = `look-${from.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}`
    .slice(0, Math.max(1, 38 - app.length))
    .replace(/-$/, '')
  await openBranch(operator, app, { name, from, purpose: 'look', json: input.json })
  note(`To go back to it: stead rollback --checkpoint ${from} --app ${app}`)
  return exitCodes.ok
}

/** A time, a position in a log, or a name. Throws `cli.usage`. */
function targetOf(moment: string): RestoreWish['target'] {
  if (/^[0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8}$/.test(moment)) return { kind: 'position', position: moment }
  if (moment === 'end') return { kind: 'end' }
  const timeMs = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}/.test(moment) ? Date.parse(moment) : Number.NaN
  if (Number.isFinite(timeMs)) return { kind: 'time', timeMs }
  if (/^[A-Za-z][A-Za-z0-9.-]{0,62}$/.test(moment)) return { kind: 'name', name: moment }
  throw usage(
    `${moment} is no moment`,
    'A time such as 2026-11-29T20:15:00, a position in the log such as 0/3A1B2C0, or the name of a checkpoint.',
  )
}

async function atMoment(input: Input, moment: string): Promise<ExitCode> {
  const target = targetOf(moment)
  const { operator, app } = await needTarget(input.text('app'))
  const copy = input.text('name') ?? `at-${moment.replaceAll(/[^A-Za-z0-9]+/g, '-')}`
  const log = input.text('log')
  const steps = new Steps(input.json)
  const answer = await steps.run('go along the log', () =>
    operator.releases.restoreAt(app, {
      copy,
      target,
      confirmed: input.flag('confirm'),
      ...(log === null ? {} : { log }),
    }),
  )
  return told(input, app, copy, target, answer)
}

/** Says where it has led, and how sure a time is. */
function told(
  input: Input,
  app: string,
  copy: string,
  target: RestoreWish['target'],
  answer: DataAnswers['forward'],
): ExitCode {
  if (input.json) print(JSON.stringify({ app, checkpoint: copy, ...answer }))
  else {
    for (const { part, position, lastChangeMs } of answer.parts)
      print(
        `${part}: ${position}${lastChangeMs === null ? '' : `, its last change at ${new Date(lastChangeMs).toISOString()}`}`,
      )
    for (const gap of answer.gaps) print(gap)
    if (target.kind === 'time')
      print(
        answer.clockErrorMs === null
          ? 'The clock may be off by an unknown time: changes around that moment may be on either side.'
          : `The clock is right to ${Math.ceil(answer.clockErrorMs)} ms: changes that close to that moment may be on either side.`,
      )
  }
  note(`Look at it: stead restore --look ${copy} --app ${app}`)
  note(`Go back to it: stead rollback --checkpoint ${copy} --app ${app}`)
  return exitCodes.ok
}

async function fromBackupAt(input: Input, moment: string): Promise<ExitCode> {
  const target = targetOf(moment)
  const own = await needLocal(input.arguments[0] ?? input.text('app'))
  const backups = await openPlace(needPlace(input, 'from'), false)
  const all = await backups.list()
  const id = input.text('id')
  const given = id === null ? null : backupOf(all, own.app, id, backups.place)
  const bases =
    given === null
      ? basesFor(
          all.filter(({ app }) => app === own.app),
          target,
        )
      : [given]
  const copy = input.text('name') ?? `at-${moment.replaceAll(/[^A-Za-z0-9]+/g, '-')}`
  const wish = { copy, target, confirmed: input.flag('confirm') }
  const answer = await new Steps(input.json).run('restore and go along the log', () =>
    bringBackAt(own, backups, bases, wish),
  )
  return told(input, own.app, copy, target, answer)
}

/** The daemon of this machine, where it runs and has no app of that name: one may be brought up there. */
async function daemonWithout(word: string): Promise<OperatorClient | null> {
  if (!/^[a-z][a-z0-9-]*$/.test(word)) return null
  const operator = await daemonClient()
  const { apps = [] } = (await operator?.platform()) ?? {}
  return apps.some(({ app }) => app === word) ? null : operator
}

async function fromBackup(input: Input, moment: string | null): Promise<ExitCode> {
  const word = input.arguments[0] ?? input.text('app')
  const backups = await openPlace(needPlace(input, 'from'), false)
  const steps = new Steps(input.json)
  const dir = input.text('to')
  const id = input.text('id')
  if (dir !== null) {
    if (word === null) throw usage('which app is to be restored?', 'As in `stead restore shop --from TARGET --to DIR`.')
    const backup = backupOf(await backups.list(), word, id, backups.place)
    await steps.run('restore', () => backups.restore(backup.id, dir))
    if (input.json) print(JSON.stringify({ backup: backup.id, dir }))
    else print(`${backup.files} files in ${dir}`)
    return exitCodes.ok
  }
  const empty = word === null ? null : await daemonWithout(word)
  if (word !== null && empty !== null) {
    const backup = backupOf(await backups.list(), word, id, backups.place)
    const stop = new AbortController()
    process.once('SIGINT', () => stop.abort(new Error('SIGINT')))
    const at = moment === null ? null : targetOf(moment)
    await bringUp({
      operator: empty,
      backups,
      backup,
      at,
      confirmed: input.flag('confirm'),
      steps,
      signal: stop.signal,
    })
    const { urls } = await empty.status(word)
    if (input.json) print(JSON.stringify({ app: word, backup: backup.id, urls }))
    else for (const url of urls) print(url)
    return exitCodes.ok
  }
  if (moment !== null) return fromBackupAt(input, moment)
  const target = await needLocal(word)
  const backup = backupOf(await backups.list(), target.app, id, backups.place)
  const name = input.text('name') ?? `restored-${backup.id}`
  await steps.run('restore', () => bringBack(target, backups, backup, name))
  if (input.json) print(JSON.stringify({ app: target.app, backup: backup.id, checkpoint: name }))
  else print(`${name} is a checkpoint of ${target.app} now.`)
  note(`Look at it: stead restore --look ${name} --app ${target.app}`)
  note(`Go back to it: stead rollback --checkpoint ${name} --app ${target.app}`)
  return exitCodes.ok
}
