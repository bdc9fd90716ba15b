/**
 * Copies of an app's data: made, listed and deleted. Where a copy needs that, what writes stands still meanwhile, and goes on
 * whatever happens.
 *
 * Invariant: a copy that has been answered is complete, and one of that name that is there already is the answer.
 */
import { isSteadError, messageOf, sleep, SteadError } from '../base/index.ts'
import type { Domain, DomainCopy, DomainUsage } from '../domain/index.ts'
import { type DataAnswers, type DataCopy, levelOf } from '../protocol/index.ts'
import type { Position } from '../provider/index.ts'
import { type DataNeed, ensureFreeName, liveKeepers, liveResources } from './data-need.ts'
import { placeOf } from './domains.ts'
import type { ResourceRunner } from './resource.ts'
import { bringToRest } from './state.ts'

/** How long a server may be found running before everything that is declared for it was looked at, and how often that is asked. */
const lookedMsMax = 20_000
const lookedPauseMs = 50

/** Generation, driver, room and copies; `sizes`: with what each holds alone, which takes up to some seconds for each. */
export async function stateOf(need: DataNeed, app: string, sizes = true): Promise<DataAnswers['state']> {
  const domain = await need.domains.of(app)
  const copies: DataCopy[] = []
  for (const copy of await domain.list()) copies.push(seen(copy, sizes ? await domain.ownBytes(copy.name) : null))
  const usage = await domain.usage()
  const weaker = [...domain.capabilities.weaker]
  const full = tooFull(domain, usage)
  if (full !== null) weaker.push(full)
  return { generation: domain.generation, driver: need.options.domain.name, ...usage, copies, weaker }
}

/** A checkpoint of the live data. Throws `agent.data-full` early. */
export async function checkpoint(need: DataNeed, app: string, name: string): Promise<DataAnswers['checkpoint']> {
  const { clock, onStep } = need.options
  const startMs = clock.monotonicMs()
  const domain = await need.domains.of(app)
  const made = await known(domain, name, 'checkpoint')
  if (made !== null) return { copy: seen(made), tookMs: 0 }
  await ensureRoom(domain)
  const positions: Record<string, Position> = {}
  const undo = (): Promise<void> => domain.delete(name)
  const { result, stopped } = await atRest(need, domain, app, undo, async (parts) => {
    Object.assign(positions, await positionsOf(need, parts))
    await markAll(need, parts, name)
    await onStep?.('at-rest', name)
    const copy = await domain.checkpoint(name)
    await onStep?.('copied', name)
    return copy
  })
  need.positions.note(
    app,
    name,
    positions,
    (await domain.list()).map((copy) => copy.name),
  )
  await onStep?.('resumed', name)
  const tookMs = Math.round(clock.monotonicMs() - startMs)
  return { copy: seen(result), tookMs, ...(stopped.length === 0 ? {} : { stopped }) }
}

/** A writable copy. */
export async function cloneOf(
  need: DataNeed,
  app: string,
  name: string,
  from: string | null,
): Promise<DataAnswers['clone']> {
  const domain = await need.domains.of(app)
  const made = await known(domain, name, 'clone')
  if (made !== null) return { copy: seen(made) }
  await ensureRoom(domain)
  if (from !== null) return { copy: seen(await domain.clone(name, from)) }
  const undo = (): Promise<void> => domain.delete(name)
  const { result } = await atRest(need, domain, app, undo, () => domain.clone(name, null))
  return { copy: seen(result) }
}

/** Deletes those that are there. Throws `agent.in-use` before anything is deleted that something is served from. */
export async function deleteCopies(
  need: DataNeed,
  app: string,
  names: readonly string[],
): Promise<DataAnswers['delete']> {
  const domain = await need.domains.of(app)
  const there = (await domain.list()).map((copy) => copy.name).filter((name) => names.includes(name))
  for (const name of there) ensureUnused(need, app, name)
  for (const name of there) await domain.delete(name)
  return { deleted: there }
}

/** Throws `agent.in-use` when something is served from a copy. */
export function ensureUnused({ resources }: DataNeed, app: string, copy: string): void {
  const user = [...resources.values()].find((runner) => {
    const place = placeOf(runner.assignment)
    return place.app === app && place.copy === copy && runner.status().phase !== 'stopped'
  })
  if (user === undefined) return
  throw new SteadError({
    code: 'agent.in-use',
    message: `${user.assignment.id} is served from the copy ${copy} of ${app}`,
    hint: `Take ${user.assignment.app} away first.`,
    retry: 'later',
  })
}

/**
 * Works while all that writes to the live data is as a copy needs it: brought to rest by its provider where that is enough,
 * else stopped. What keeps state of its own is asked first, as it may need the others to come to rest; where it may have gone
 * on before the work was done, `undo` takes that away. Answers the parts whose servers stood still.
 */
export async function atRest<T>(
  need: DataNeed,
  domain: Domain,
  app: string,
  undo: (made: T) => Promise<void>,
  work: (parts: readonly ResourceRunner[]) => Promise<T>,
): Promise<{ result: T; stopped: readonly string[] }> {
  const { providers } = need.options
  const parts = liveResources(need, app)
  const mustStop = ({ assignment, sandbox }: ResourceRunner): boolean => {
    const quiesce = providers.get(assignment.type)?.capabilities.quiesce
    return sandbox !== null && (domain.capabilities.quiesce === 'stop' || quiesce === 'stop')
  }
  const stopping = parts.filter(mustStop)
  const takesTime = domain.capabilities.quiesce === 'stop'
  await using rest = await bringToRest(need.options, await liveKeepers(need, app), takesTime)
  using stack = new DisposableStack()
  await using resting = new AsyncDisposableStack()
  for (const runner of parts) {
    const provider = providers.get(runner.assignment.type)
    if (stopping.includes(runner) || provider === undefined) continue
    const context = await answering(need, runner)
    // One that does not answer writes nothing that was acknowledged.
    if (context !== null) resting.use(await provider.quiesce(context))
  }
  const why = 'stands still while its data is copied'
  for (const runner of stopping) stack.use(await runner.halt(why))
  const result = await work(parts)
  try {
    rest.ensure()
  } catch (error) {
    await undo(result)
    throw error
  }
  return { result, stopped: stopping.map(({ assignment }) => assignment.part) }
}

/**
 * The context of a server that answers; null: it does not. One that an earlier agent has left running answers before this agent
 * has looked at all that is declared for it: that is waited for. Throws `agent.not-serving` when it takes long.
 */
async function answering(
  { options: { clock } }: DataNeed,
  runner: ResourceRunner,
): Promise<Awaited<ReturnType<ResourceRunner['liveContext']>> | null> {
  for (const untilMs = clock.monotonicMs() + lookedMsMax; ;) {
    if (runner.endpoint() === null) return null
    try {
      return await runner.liveContext()
    } catch (error) {
      const soon = isSteadError(error) && error.code === 'agent.not-serving' && clock.monotonicMs() < untilMs
      if (!soon) throw error
    }
    await sleep(clock, lookedPauseMs)
  }
}

/** Where the counters stand, of those that count and answer. */
async function positionsOf(
  { options }: DataNeed,
  parts: readonly ResourceRunner[],
): Promise<Readonly<Record<string, Position>>> {
  const positions: Record<string, Position> = {}
  for (const runner of parts) {
    const { type, part, id } = runner.assignment
    const provider = options.providers.get(type)
    if (provider?.position === undefined || runner.endpoint() === null) continue
    try {
      positions[part] = await provider.position(await runner.liveContext())
    } catch (error) {
      // A checkpoint is worth more than knowing what has changed since.
      options.onNotice(`${id} does not say where it stands, so no preview tells what changed: ${messageOf(error)}`)
    }
  }
  return positions
}

/** Names the moment in the logs, so that a copy can be brought forward to it. */
async function markAll({ options }: DataNeed, parts: readonly ResourceRunner[], name: string): Promise<void> {
  for (const runner of parts) {
    const provider = options.providers.get(runner.assignment.type)
    if (provider?.mark === undefined || runner.endpoint() === null) continue
    try {
      await provider.mark(await runner.liveContext(), name)
    } catch (error) {
      options.onNotice(`${runner.assignment.id} does not name ${name} in its log: ${messageOf(error)}`)
    }
  }
}

async function known(domain: Domain, name: string, kind: DomainCopy['kind']): Promise<DomainCopy | null> {
  ensureFreeName(name)
  const found = (await domain.list()).find((copy) => copy.name === name)
  // One of another kind is refused by the domain, with its own words.
  return found?.kind === kind ? found : null
}

/** Throws `agent.data-full` when so little is left that a copy would soon leave no room for what is written next. */
export async function ensureRoom(domain: Domain): Promise<void> {
  const full = tooFull(domain, await domain.usage())
  if (full === null) return
  throw new SteadError({
    code: 'agent.data-full',
    message: full,
    hint: `Delete copies that \`stead releases\` lists (\`stead checkpoint NAME --rm\`), or ${domain.capabilities.sizeLimit ? 'declare more `data` in the app file' : 'make room on the disk'}.`,
    retry: 'later',
  })
}

/** Whether so little is left that there is no room for another copy: a sentence, or null. */
function tooFull(domain: Domain, { freeBytes, totalBytes }: DomainUsage): string | null {
  const level = levelOf(freeBytes, totalBytes)
  // The disk of the machine has a measure of its own, and keeps others alive too.
  if (level === 'ok' || (level === 'low' && !domain.capabilities.sizeLimit)) return null
  const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`
  return `the data of ${domain.id} has ${megabytes(freeBytes)} of ${megabytes(totalBytes)} free, too little for another copy`
}

function seen({ name, kind, path, createdAtMs, generation }: DomainCopy, ownBytes: number | null = null): DataCopy {
  return { name, kind, path, createdAtMs, generation, ownBytes }
}
