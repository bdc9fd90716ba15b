/**
 * A copy of an app's data brought forward along the log to a moment after it was made: point in time.
 *
 * Invariants: the live data is only read; what cannot be brought there is deleted again; a time is only taken for what it is
 * where the error of this machine's clock is known, or somebody has said that it does not matter.
 */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { isSteadError, SteadError } from '../base/index.ts'
import type { Domain } from '../domain/index.ts'
import type { DataAnswers, DataTask } from '../protocol/index.ts'
import { atRest, ensureRoom } from './data-copies.ts'
import { type DataNeed, ensureFreeName, liveResources, refused } from './data-need.ts'
import { copyContext, ownCopy, providerOf } from './data-work.ts'
import { copyOf } from './domains.ts'

type Forward = Extract<DataTask, { do: 'forward' }>

/** Throws `agent.clock-unknown`, `agent.data-refused`, and as the providers do for the oldest copy that was tried. */
export async function forward(
  need: DataNeed,
  app: string,
  task: Forward,
  signal: AbortSignal,
): Promise<DataAnswers['forward']> {
  ensureFreeName(task.copy)
  const clockErrorMs = task.target.kind === 'time' ? await clockError() : null
  if (task.target.kind === 'time' && clockErrorMs === null && !task.confirmed) throw clockUnknown()
  const domain = await need.domains.of(app)
  const known = new Set((await domain.list()).map(({ name }) => name))
  if (known.has(task.copy)) throw refused(`${app} has a copy called ${task.copy} already`, 'Choose another name.')
  await ensureRoom(domain)
  // The log is that of a moment: live servers go on writing it.
  await using later = await (task.log === undefined
    ? laterCopy(need, domain, app)
    : ownCopy(need, domain, (await copyOf(domain, task.log)).name))
  let last: unknown = refused(`${app} has no checkpoint from before that`, 'The log only leads forward from one.')
  for (const from of task.from.filter((name) => known.has(name))) {
    signal.throwIfAborted()
    try {
      const parts = await bring(need, domain, app, { ...task, from, later: later.copy.path }, signal)
      return { from, ...parts, clockErrorMs }
    } catch (error) {
      await domain.delete(task.copy).catch(() => {})
      if (!isSteadError(error)) throw error
      last = error
    }
  }
  throw last
}

/** Lays out the logs of the live data, those that there are. */
export async function layOutLogs(need: DataNeed, app: string): Promise<DataAnswers['log']> {
  const logs: DataAnswers['log'][number][] = []
  for (const runner of liveResources(need, app)) {
    const provider = providerOf(need, runner.assignment.type)
    if (provider.layOutLog === undefined || runner.sandbox === null) continue
    logs.push({ part: runner.assignment.part, ...(await provider.layOutLog(await runner.liveContext())) })
  }
  return logs
}

async function laterCopy(need: DataNeed, domain: Domain, app: string): ReturnType<typeof ownCopy> {
  const undo = (made: AsyncDisposable): Promise<void> => Promise.resolve(made[Symbol.asyncDispose]())
  const { result } = await atRest(need, domain, app, undo, () => ownCopy(need, domain, null))
  return result
}

async function bring(
  need: DataNeed,
  domain: Domain,
  app: string,
  { copy, from, target, later }: Pick<Forward, 'copy' | 'target'> & { readonly from: string; readonly later: string },
  signal: AbortSignal,
): Promise<Pick<DataAnswers['forward'], 'parts' | 'gaps'>> {
  const made = await domain.clone(copy, from)
  const parts: DataAnswers['forward']['parts'][number][] = []
  const gaps: string[] = []
  for (const { assignment: resource } of liveResources(need, app)) {
    const dir = join(made.path, resource.part)
    if (!existsSync(dir) || readdirSync(dir).length === 0) continue
    const provider = providerOf(need, resource.type)
    if (provider.restoreTo === undefined) {
      gaps.push(`${resource.part} stays as it is in ${from}: a ${resource.type} has no log to go along`)
      continue
    }
    using place = copyContext(need, app, made, resource, signal)
    const found = await provider.restoreTo(await place.context, join(later, resource.part), target)
    parts.push({ part: resource.part, ...found })
  }
  signal.throwIfAborted()
  return { parts, gaps }
}

/**
 * How far this machine's clock can be off, milliseconds: offset, root dispersion and half of the root delay, as the program
 * that keeps it says; null where nothing keeps it.
 */
async function clockError(): Promise<number | null> {
  const child = spawn('chronyc', ['-c', 'tracking'], { stdio: ['ignore', 'pipe', 'ignore'] })
  const failed = new Promise<null>((resolve) => child.once('error', () => resolve(null)))
  const said = await Promise.race([failed, text(child.stdout)])
  const fields = (said ?? '').trim().split(',')
  const [offset, delay, dispersion, leap] = [fields[4], fields[10], fields[11], fields[13]]
  if (leap === undefined || leap === 'Not synchronised') return null
  const seconds = Math.abs(Number(offset)) + Number(dispersion) + Number(delay) / 2
  return Number.isFinite(seconds) ? seconds * 1000 : null
}

function clockUnknown(): SteadError {
  return new SteadError({
    code: 'agent.clock-unknown',
    message:
      'nothing keeps the clock of the machine with the data, so nobody knows which changes were before that time',
    hint: 'Name a checkpoint or a position instead; or, if some seconds do not matter, say --confirm. chrony would keep the clock.',
  })
}
