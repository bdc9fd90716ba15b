/** `stead status`: what runs, and how it is. */
import { systemClock } from '../../base/index.ts'
import { describeRefusal, hintForRefusal } from '../../network/index.ts'
import type { BackupStatus, PartStatus, PlatformInfo, Status } from '../../operator/index.ts'
import { backupsOf } from '../backup-notes.ts'
import type { Command } from '../command.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { isServerWord } from '../remote/remote-target.ts'
import { findTarget, needDaemon, servedHint } from '../target.ts'
import { duration, megabytes, note, paint, print, table } from '../terminal.ts'

const dayMs = 86_400_000
/** What is said of parts that do not share a kernel, or share it through a server. */
const where = { kernel: 'on a kernel of its own', container: 'in a container of its node’s Incus server' }

export const statusCommand: Command = {
  name: 'status',
  usage: '[APP]',
  summary: 'what runs, and how it is',
  help: `  --all         every app that \`stead serve\` runs, a line each
  --json        as JSON
  APP is a directory (default: here), or the name of an app that \`stead serve\` runs.
  Exit code 0: all is well; 4: something is not; 3: the app does not run.
  Example: stead status examples/shop --json`,
  options: { all: { type: 'boolean' } },
  argumentsMax: 1,
  async run(input) {
    const [word = null] = input.arguments
    if (input.flag('all')) return statusOfAll(word, input.json)
    const target = await findTarget(word)
    if (target === null) {
      if (input.json) print(JSON.stringify({ running: false }))
      else note(`The app in ${word ?? '.'} does not run. Start it with \`stead up ${word ?? '.'}\`.${servedHint()}`)
      return exitCodes.notRunning
    }
    const found = await target.operator.status(target.app)
    // Of an app on a server the notes are there.
    const known = word !== null && isServerWord(word) ? [] : backupsOf(target.app, systemClock.nowMs())
    const backups = known.filter(({ place }) => place !== found.backup?.place)
    if (input.json) print(JSON.stringify({ running: found.wanted, ...found, backups }))
    else {
      printStatus(found)
      if (found.backup !== undefined) printBackup(found.backup)
      for (const { place, sentence, state, overdue } of backups)
        print(`backups at ${place}: ${state === 'proved' && !overdue ? sentence : paint('yellow', sentence)}`)
    }
    if (!found.wanted) return exitCodes.notRunning
    const room = found.disks.every(({ level }) => level !== 'critical')
    const isSafe = (found.backup?.troubles.length ?? 0) === 0
    return room && isSafe && found.parts.every(isWell) ? exitCodes.ok : exitCodes.degraded
  },
}

async function statusOfAll(on: string | null, json: boolean): Promise<ExitCode> {
  const operator = await needDaemon(on)
  const platform = await operator.platform()
  const statuses = await Promise.all(platform.apps.map(({ app }) => operator.status(app)))
  if (json) print(JSON.stringify({ ...platform, statuses }))
  else printPlatform(platform, statuses)
  return statuses.every((status) => !status.wanted || status.parts.every(isWell)) ? exitCodes.ok : exitCodes.degraded
}

function printPlatform(platform: PlatformInfo, statuses: readonly Status[]): void {
  print(`${paint('bold', `stead ${platform.version}`)}  ${paint('dim', `process ${platform.pid}`)}`)
  if (statuses.length === 0) return print('No app runs here. Bring one with `stead deploy`.')
  const rows = statuses.map((status) => {
    const bad = status.parts.filter((part) => !isWell(part)).map((part) => part.part)
    const state = !status.wanted ? 'down' : bad.length === 0 ? paint('green', 'well') : paint('red', bad.join(', '))
    return [status.app, `release ${status.release}`, state, status.urls.join(' ')]
  })
  print(table([['APP', '', 'STATE', 'URL'].map((head) => paint('dim', head)), ...rows]))
}

/** A job that is about to start is as it should be: what it waits for is a part of its own. */
function isWell({ kind, phase, stoppedBy }: PartStatus): boolean {
  if (kind === 'job' && (phase === 'waiting' || phase === 'starting')) return true
  return ['ready', 'scheduled', 'succeeded'].includes(phase) || stoppedBy !== null
}

function printStatus(found: Status): void {
  const { sandbox, network, domain } = found.drivers
  print(
    `${paint('bold', found.app)}  release ${found.release}  ${paint('dim', `sandbox ${sandbox}, network ${network}, data ${domain}, process ${found.pid}`)}`,
  )
  for (const url of found.urls) print(paint('cyan', url))
  printRollout(found)
  const rows = found.parts.map((part) => [
    part.part,
    part.kind,
    isWell(part) ? paint('green', part.phase) : paint('red', part.phase),
    part.sinceMs === null ? '' : duration(Date.now() - part.sinceMs),
    part.memoryBytes === null ? '' : megabytes(part.memoryBytes),
    part.restarts === 0 ? '' : `${part.restarts} restarts`,
    part.reason?.split('\n')[0] ?? '',
  ])
  print(`\n${table([['PART', 'KIND', 'STATE', 'SINCE', 'MEMORY', '', ''].map((head) => paint('dim', head)), ...rows])}`)
  const apart = new Map(found.parts.flatMap((one) => (one.isolation === undefined ? [] : [[one.part, one]])))
  for (const [part, { isolation = 'kernel', disk }] of apart) {
    const how = disk === undefined ? `each instance ${where[isolation]}` : `a system of its own, booted from ${disk}`
    print(paint('dim', `\n${part}: ${how}`))
  }
  for (const { part, durability } of found.parts)
    if (durability !== undefined) print(paint('dim', `\n${part}: ${durability}`))
  for (const { part, log } of found.parts) if (log !== undefined) printLog(part, log)
  printQueues(found.parts)
  for (const { node, level, freeBytes, totalBytes } of found.disks) {
    if (level === 'ok') continue
    const share = `${megabytes(freeBytes)} of ${megabytes(totalBytes)} free on the disk of ${node}`
    const what = level === 'low' ? paint('yellow', 'disk low') : paint('red', 'disk critical')
    print(`\n${what} ${share}${level === 'low' ? '' : ': nothing new is deployed'}; see \`stead disk\``)
  }
  printEnds(found.parts)
  printHeld(found.parts)
  printRefused(found.parts)
  for (const line of found.weaker) print(`\n${paint('yellow', 'weaker')} ${line}`)
}

/** What is in the queues: of each a line, as a queue that grows is no state of its part. */
function printQueues(parts: readonly PartStatus[]): void {
  for (const { part, metrics = {} } of parts) {
    const { queue_ready: ready, queue_oldest_seconds: oldest = 0, queue_held: held = 0, queue_dead: dead = 0 } = metrics
    if (ready === undefined) continue
    const waiting = ready === 0 ? 'nothing waits' : `${ready} wait, the oldest for ${duration(oldest * 1000)}`
    const letters = dead === 0 ? '' : paint('red', `, ${dead} dead: see \`stead queue peek ${part} --dead\``)
    const paused = (metrics['queue_paused'] ?? 0) > 0 ? paint('yellow', ', paused: see `stead queue resume`') : ''
    print(`\n${part}: ${waiting}, ${held} in hand${letters}${paused}`)
  }
}

function printLog(part: string, { sinceMs, bytes, trouble }: NonNullable<PartStatus['log']>): void {
  const back = sinceMs === null ? 'as far as it was written to' : `${duration(Date.now() - sinceMs)} back`
  const kept = bytes === 0 ? '' : `, ${megabytes(bytes)} kept`
  print(paint('dim', `${part}: the log leads ${back}${kept}`))
  if (trouble !== null) print(`${paint('red', part)} ${trouble}`)
}

function printBackup({ place, sentence, state, overdue, logMs, doing, troubles }: BackupStatus): void {
  const isWell = state === 'proved' && !overdue && troubles.length === 0
  const log = logMs === null ? '' : `; the log of ${duration(Date.now() - logMs)} ago is there`
  const now = doing === null ? '' : `; ${doing} under way`
  print(`backups to ${place}: ${isWell ? sentence : paint('yellow', sentence)}${log}${now}`)
  for (const trouble of troubles) print(`${paint('red', 'backups')} ${trouble}`)
}

function printRollout({ app, rollout }: Status): void {
  if (rollout === undefined) return
  const { release, step, sinceMs, stuck } = rollout
  const where =
    stuck === null ? `is being rolled out: ${step}, since ${duration(Date.now() - sinceMs)}` : `is stuck: ${stuck}`
  print(
    `${paint(stuck === null ? 'cyan' : 'red', `release ${release} ${where}`)}; see \`stead releases ${release} --app ${app}\``,
  )
}

/** What has ended by itself within a day: the reason is gone from its state once it runs again. */
function printEnds(parts: readonly PartStatus[]): void {
  for (const { part, instance, lastEnd } of parts) {
    const agoMs = systemClock.nowMs() - (lastEnd?.timeMs ?? 0)
    if (lastEnd === undefined || agoMs > dayMs) continue
    print(
      `${paint('yellow', 'ended')} ${instance ?? part} ${duration(agoMs)} ago: ${lastEnd.sentence}; see \`stead why ${part}\``,
    )
  }
}

/** Where somebody's debugger is: what stands still then is no fault of the program. */
function printHeld(parts: readonly PartStatus[]): void {
  for (const { part, instance, heldSinceMs, debuggers = [] } of parts) {
    if (heldSinceMs === undefined) continue
    const nowMs = systemClock.nowMs()
    const named = debuggers.map(({ by, sinceMs, stands, traffic }) => {
      const drained = traffic === 'drain' ? ', requests go to others where there are any' : ''
      return ` of ${by} for ${duration(nowMs - sinceMs)}${stands ? `: it stands at a breakpoint${drained}` : ''}`
    })
    for (const words of named.length === 0 ? [` for ${duration(nowMs - heldSinceMs)}`] : named)
      print(`${paint('yellow', 'debugger')} in ${instance ?? part}${words}`)
  }
}

/** What the parts tried outside and were refused, and what would allow it. */
function printRefused(parts: readonly PartStatus[]): void {
  if (parts.some(({ refused }) => refused.length > 0)) print('')
  for (const { part, refused } of parts) {
    for (const refusal of refused) {
      const last = new Date(refusal.lastMs).toTimeString().slice(0, 8)
      const times = refusal.count === 1 ? `at ${last}` : `${refusal.count} times, last ${last}`
      print(`${paint('yellow', 'refused')} ${describeRefusal(part, refusal)} (${times})`)
      const hint = hintForRefusal(part, refusal)
      if (hint !== null) print(paint('dim', `  ${hint}`))
    }
  }
}
