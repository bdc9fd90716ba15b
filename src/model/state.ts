/**
 * State that a service keeps itself: the option in the app file, and the resource that it becomes. In the graph that state
 * is a resource of the type `state` which exactly one service uses, so it has a home, a place in the app's data, and a part
 * in checkpoints and returns as every other resource has.
 */
import { SteadError } from '../base/index.ts'
import type { Json } from '../base/index.ts'
import { badOption, checkCommand, checkName, checkOptions, readDuration } from './check.ts'
import type { Part, ResourcePart } from './graph.ts'
import { resource } from './resource.ts'
import type { Duration } from './units.ts'
import { describePart } from './values.ts'
import type { Resource } from './values.ts'

/** The resource type behind the option. */
export const stateType = 'state'

/** The service's own name for it. */
export const stateUse = 'state'

type Command = readonly [string, ...string[]]

/**
 * State of a service's own: files in a directory that it finds in STEAD_STATE_DIR. The hooks are programs, run with the
 * service's code and rights; 0 is success. Each may be called twice.
 */
export interface StateOptions {
  /** Name of the directory in the app's data, as parts are named. Default: that of the service with `-state`. */
  readonly dir?: string
  /**
   * Run beside the service before a copy is made: from its end on nothing changes the state. With `resume` as its last
   * argument, when that is over. Default: where a copy takes time, the service is frozen meanwhile.
   */
  readonly quiesce?: Command
  /** Run beside the service after that: from its end on, all that belongs to the state is in the directory. */
  readonly checkpoint?: Command
  /** Run alone, without a network, before the first start on data that was put back or copied. */
  readonly restore?: Command
  /** Run alone on a copy, without a network: anything but 0 means that the state is damaged. */
  readonly verify?: Command
  /** Longest time from asking for rest to its end, 100ms to 60s, default 5s. The service goes on by itself after it. */
  readonly pause?: Duration
  /** Longest time of `restore` and of `verify`, 1s to 1h, default 1m. */
  readonly timeout?: Duration
}

/** The hooks by name, in the order in which they are called. */
export const stateHooks = ['quiesce', 'checkpoint', 'restore', 'verify'] as const
export type StateHook = (typeof stateHooks)[number]

/** Config of the resource. A hook that is not declared is null. */
export interface StateConfig extends Readonly<Record<StateHook, readonly string[] | null>> {
  /** Name of the service. */
  readonly of: string
  readonly pauseMs: number
  readonly timeoutMs: number
}

/** The resource of a service with state. Throws `model.bad-option`, `model.unknown-option`, `model.bad-name`. */
export function readState(owner: string, of: string, option: StateOptions, replicas: number): Resource<'state'> {
  checkOptions(owner, option, ['dir', ...stateHooks, 'pause', 'timeout'], 'state')
  if (replicas !== 1) {
    const hint = 'Two programs on the same files would each not know of the other: leave replicas out.'
    throw badOption(owner, 'replicas', '1 where there is state', replicas, hint)
  }
  const { dir = `${of}-state`, pause = '5s', timeout = '1m' } = option
  checkName(stateType, dir)
  const hooks = Object.fromEntries(
    stateHooks.map((name) => {
      const command = option[name]
      if (command !== undefined) checkCommand(owner, `state.${name}`, command)
      return [name, command === undefined ? null : [...command]]
    }),
  )
  return resource(stateType, dir, {
    of,
    ...hooks,
    pauseMs: readDuration(owner, 'state.pause', pause, 100, 60_000),
    timeoutMs: readDuration(owner, 'state.timeout', timeout, 1000, 3_600_000),
  })
}

/** The config as it stands in a graph or a plan; null when it is none. */
export function stateConfigOf(config: Json): StateConfig | null {
  if (typeof config !== 'object' || config === null || !('of' in config)) return null
  const { of, pauseMs, timeoutMs } = config
  if (typeof of !== 'string' || typeof pauseMs !== 'number' || typeof timeoutMs !== 'number') return null
  const hooks: Partial<Record<StateHook, readonly string[] | null>> = {}
  for (const name of stateHooks) {
    const command = config[name] ?? null
    if (command === null) hooks[name] = null
    else if (isCommand(command)) hooks[name] = command
    else return null
  }
  const { quiesce = null, checkpoint = null, restore = null, verify = null } = hooks
  return { of, quiesce, checkpoint, restore, verify, pauseMs, timeoutMs }
}

function isCommand(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length > 0 && value.every((word) => typeof word === 'string')
}

/** Holds that state has one owner, which has one instance. Throws `model.bad-state`. */
export function checkState(part: ResourcePart, parts: readonly Part[]): void {
  if (part.type !== stateType) return
  const refuse = (what: string): never => {
    const hint = 'State is declared with the option `state` of the one service that keeps it.'
    throw new SteadError({ code: 'model.bad-state', message: `${describePart(part)} ${what}.`, hint })
  }
  const config = stateConfigOf(part.config)
  if (config === null) return refuse('has a config that is not the one of a state')
  const users = parts.filter((other) => other.kind !== 'resource' && other.uses.some((use) => use.part === part.name))
  const [owner] = users
  if (owner === undefined || users.length > 1 || owner.name !== config.of || owner.kind !== 'service')
    return refuse(
      `belongs to service '${config.of}' alone, and is used by ${users.map(describePart).join(', ') || 'none'}`,
    )
  if (owner.replicas !== 1)
    return refuse(`belongs to ${describePart(owner)}, which has ${owner.replicas} replicas, not 1`)
}
