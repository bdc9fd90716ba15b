/** `stead backup`: copies of an app's data in another place, what is there, and whether it has been proved. */
import { existsSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import {
  type Backup,
  type Backups,
  describeProof,
  drillDue,
  exportKey,
  planForget,
  writeKey,
} from '../../backup/index.ts'
import { systemClock, systemRandom } from '../../base/index.ts'
import { drillEveryMs, drillsOf, noteBackups } from '../backup-notes.ts'
import { backUpApp, backupOf, drillApp, needLocal, needPlace, openPlace, placeHelp, placeOptions } from '../backups.ts'
import { type Command, type Input, usage } from '../command.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { readHidden } from '../hidden-input.ts'
import { backupKeyPath } from '../home.ts'
import { runThere, serverIn } from '../remote/there.ts'
import { duration, megabytes, note, print, Steps, table } from '../terminal.ts'

/** How soon a drill that failed is tried again where it is asked for often. */
const drillRetryMs = 3_600_000

const typedPrompt = 'Key of the backups (not shown): '
const actions = { ls, drill, rm, key }

export const backupCommand: Command = {
  name: 'backup',
  usage: '[APP] --to TARGET | ls | drill [APP] | rm ID... | key',
  summary: "copies of an app's data in another place, encrypted and incremental, and drills that prove them",
  help: `  [APP] --to TARGET        a checkpoint is taken, copied there, and given back. The first time the place is prepared,
                           and a key is made and shown: write it down, elsewhere
    --name NAME            what to call it; else "manual"
    --keep N               forget what is older than the newest N of this app; never the newest that was proved
  ls --from TARGET         what is there, and what is known of it: proved, failed or unproved
  drill [APP] --from TARGET [--id ID] [--probe PART=SQL]
                           everything there is read, the newest backup is restored beside the app, its databases are
                           checked whole, the app is started on it with nothing outside in reach, and all is taken
                           away again. A probe is a SELECT that must answer a row, neither null nor false.
                           --if-due: only when the last proof is a week old, or the last drill failed an hour ago
  rm ID... --from TARGET   forget backups and give back their space
  key                      show the key; with --set read one that was written down; with --make make one, where there
                           is none
${placeHelp}
  --json  as JSON
  APP is a directory (default: here), the name of an app that \`stead serve\` runs on this machine, or ssh://HOST/APP: then
  all of it is done there, and TARGET and the files are that server's; so is the key (\`stead backup key ssh://HOST\`).
  Exit code 1 when a drill has failed.
  Example: stead backup shop --to /mnt/disk/backups --keep 14`,
  options: {
    to: { type: 'string' },
    from: { type: 'string' },
    name: { type: 'string' },
    keep: { type: 'string' },
    id: { type: 'string' },
    probe: { type: 'string', multiple: true },
    'if-due': { type: 'boolean' },
    set: { type: 'boolean' },
    make: { type: 'boolean' },
    ...placeOptions,
  },
  argumentsMax: 100,
  async run(input) {
    const server = serverIn(input)
    if (server !== null) return onServer(server, input)
    const [word] = input.arguments
    return word !== undefined && Object.hasOwn(actions, word)
      ? actions[word as keyof typeof actions](input)
      : make(input)
  },
}

async function make(input: Input): Promise<ExitCode> {
  const keep = input.number('keep', 1, 10_000)
  const [word = null, ...more] = input.arguments
  if (more.length > 0) throw usage('stead backup takes one app', 'As in `stead backup shop --to /mnt/disk/backups`.')
  const place = needPlace(input, 'to')
  const target = await needLocal(word)
  const backups = await openPlace(place, true)
  const steps = new Steps(input.json)
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort(new Error('SIGINT')))
  if ((await backups.init()) === 'made') note(`${backups.place} is prepared.`)
  const backup = await backUpApp(target, backups, input.text('name') ?? 'manual', steps, stop.signal)
  const all = await listed(backups)
  const rule = { count: keep ?? all.length, withinMs: 0 }
  const old = planForget(
    all.filter(({ app }) => app === target.app),
    rule,
    (app) => drillsOf(backups.place, app),
    systemClock.nowMs(),
  )
  if (old.length > 0) await steps.run(`forget ${old.length}`, () => backups.forget(old))
  if (input.json) print(JSON.stringify({ backup, place: backups.place, forgotten: old }))
  else
    print(
      `${backup.id}  ${megabytes(backup.bytes)} in ${backup.files} files, ${megabytes(backup.addedBytes)} of them new there`,
    )
  return exitCodes.ok
}

/** The same there, where the data is. A key that is typed is typed here. */
async function onServer(server: string, input: Input): Promise<number> {
  const [action] = input.arguments
  const isKey = action === 'key'
  const typed = isKey && input.flag('set') ? await readHidden(typedPrompt, false) : null
  return runThere(server, {
    command: backupCommand,
    input,
    namesApp: !isKey && action !== 'rm',
    needs: isKey ? null : { name: 'restic', program: 'restic' },
    ...(typed === null ? {} : { typed }),
  })
}

async function ls(input: Input): Promise<ExitCode> {
  const [, only = null] = input.arguments
  const backups = await openPlace(needPlace(input, 'from'), false)
  const all = (await listed(backups)).filter(({ app }) => only === null || app === only)
  const nowMs = systemClock.nowMs()
  const standing = (backup: Backup) => describeProof(backup, drillsOf(backups.place, backup.app), nowMs)
  if (input.json) {
    print(JSON.stringify({ place: backups.place, backups: all.map((one) => ({ ...one, ...standing(one) })) }))
    return exitCodes.ok
  }
  if (all.length === 0) note(`There is no backup at ${backups.place}.`)
  const rows = all
    .toReversed()
    .map((one) => [
      one.id,
      one.app,
      one.name,
      `${duration(nowMs - one.atMs)} ago`,
      one.release === null ? '' : `release ${one.release}`,
      megabytes(one.bytes),
      standing(one).sentence,
    ])
  if (rows.length > 0) print(table(rows))
  return exitCodes.ok
}

async function drill(input: Input): Promise<ExitCode> {
  const [, word = null] = input.arguments
  const backups = await openPlace(needPlace(input, 'from'), false)
  const target = await needLocal(word)
  const all = await listed(backups)
  const backup = backupOf(all, target.app, input.text('id'), backups.place)
  if (input.flag('if-due')) {
    const own = all.filter(({ app }) => app === target.app)
    const schedule = { everyMs: drillEveryMs, retryMs: drillRetryMs }
    const due = drillDue(drillsOf(backups.place, target.app), schedule, own, systemClock.nowMs())
    if (due.due === null) return notDue(input, due.nextMs)
  }
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort(new Error('SIGINT')))
  const steps = new Steps(input.json)
  const proof = await drillApp(target, backups, backup, probesOf(input), steps, stop.signal)
  if (input.json) print(JSON.stringify(proof))
  else if (proof.failure === null)
    print(`${backup.id} is proved in ${duration(proof.tookMs)}: ${proof.checks.join('; ')}`)
  else print(`${backup.id} is NOT proved: ${proof.failure}`)
  return proof.failure === null ? exitCodes.ok : exitCodes.failed
}

function notDue(input: Input, nextMs: number | null): ExitCode {
  if (input.json) print(JSON.stringify({ due: false, nextMs }))
  else
    note(
      nextMs === null
        ? 'There is nothing to prove.'
        : `The next one is due in ${duration(nextMs - systemClock.nowMs())}.`,
    )
  return exitCodes.ok
}

/** What is there; noted for `status`. */
async function listed(backups: Backups): Promise<readonly Backup[]> {
  const all = await backups.list()
  noteBackups(backups.place, all)
  return all
}

function probesOf(input: Input): Readonly<Record<string, string>> {
  const probes = input.texts('probe').map((text) => {
    const at = text.indexOf('=')
    if (at < 1) throw usage(`--probe ${text} names no part`, 'As in --probe "db=select count(*) > 0 from orders".')
    return [text.slice(0, at), text.slice(at + 1)] as const
  })
  return Object.fromEntries(probes)
}

async function rm(input: Input): Promise<ExitCode> {
  const [, ...ids] = input.arguments
  if (ids.length === 0)
    throw usage('which backups are to be forgotten?', 'Name their ids, as `stead backup ls` has them.')
  const backups = await openPlace(needPlace(input, 'from'), false)
  const before = await listed(backups)
  const forgotten = ids.filter((id) => before.some((backup) => backup.id === id))
  await backups.forget(forgotten)
  noteBackups(
    backups.place,
    before.filter(({ id }) => !forgotten.includes(id)),
  )
  if (input.json) print(JSON.stringify({ forgotten }))
  else note(forgotten.length === 0 ? 'There was none of them.' : `Forgotten: ${forgotten.join(', ')}`)
  return exitCodes.ok
}

async function key(input: Input): Promise<ExitCode> {
  const path = backupKeyPath()
  if (input.flag('set')) {
    const text = await readHidden(typedPrompt, false)
    if (!existsSync(dirname(path))) mkdirSync(dirname(path), { recursive: true, mode: 0o711 })
    await writeKey(path, systemRandom, text.toString('utf8'))
    if (input.json) print(JSON.stringify({ path }))
    else note(`The key is in ${path}.`)
    return exitCodes.ok
  }
  if (input.flag('make')) {
    if (!existsSync(dirname(path))) mkdirSync(dirname(path), { recursive: true, mode: 0o711 })
    await writeKey(path, systemRandom)
  }
  const { key: text, advice } = await exportKey(path)
  if (input.json) print(JSON.stringify({ key: text, path }))
  else {
    print(text)
    for (const line of advice) note(line)
  }
  return exitCodes.ok
}
