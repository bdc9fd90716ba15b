/**
 * Which credentials have to take which step of their rotation now, as far as agents have reported. Pure; the state of each
 * rotation is in the vault, so nothing here is remembered.
 *
 * Invariant: an old version is given up only when no instance that may still use it runs; what has not reported counts as
 * using it.
 */
import { secretPolicy } from '../secrets/index.ts'
import { type Credential, meaningOf, pinOf } from './credentials.ts'
import { type ControlState, type InstanceRecord, isSetAside, partKey, resourceId } from './state.ts'

export interface RotationTask {
  readonly app: string
  /** In the vault. */
  readonly name: string
  readonly event: 'rotate' | 'valid' | 'reported' | 'revoked'
}

/** The steps that can be taken now. */
export function rotationTasks(state: ControlState, nowMs: number): readonly RotationTask[] {
  return [...state.credentials].flatMap(([key, credential]) => {
    const [app, name] = splitKey(key)
    const event = eventFor(state, app, name, credential, nowMs)
    return event === null ? [] : [{ app, name, event }]
  })
}

function splitKey(key: string): readonly [app: string, name: string] {
  const at = key.indexOf('/')
  return [key.slice(0, at), key.slice(at + 1)]
}

function eventFor(
  state: ControlState,
  app: string,
  name: string,
  credential: Credential,
  nowMs: number,
): RotationTask['event'] | null {
  const { rotation, current } = credential
  const { part, consumer } = meaningOf(name)
  // A secret is checked by nobody: whoever has the value has it.
  const inForce = (version: number): boolean | null =>
    consumer === null ? null : (resourceCredentials(state, app, part)?.includes(`${consumer}@${version}`) ?? false)
  switch (rotation.at) {
    case 'steady':
      return isDue(state, app, part, credential, nowMs) ? 'rotate' : null
    case 'created':
      return inForce(rotation.to) === false ? null : 'valid'
    case 'overlap':
      return waitingFor(state, app, name, current).length === 0 ? 'reported' : null
    case 'revoking':
      return inForce(current) === false || inForce(rotation.from) === true ? null : 'revoked'
  }
}

/** Whether a generated value is older than the app file lets it become. */
function isDue(state: ControlState, app: string, part: string, credential: Credential, nowMs: number): boolean {
  const declared = state.apps.get(app)?.graph.parts.find((other) => other.name === part)
  if (declared?.kind !== 'resource' || declared.type !== 'secret' || credential.source !== 'generated') return false
  const { rotateMs } = secretPolicy(declared.config)
  return rotateMs !== null && nowMs - credential.createdMs >= rotateMs
}

function resourceCredentials(state: ControlState, app: string, part: string): readonly string[] | null {
  return state.statuses.get(resourceId(app, part))?.credentials ?? null
}

/** The instances that may still use an older version than this one. */
export function waitingFor(state: ControlState, app: string, name: string, version: number): readonly InstanceRecord[] {
  const { part, consumer } = meaningOf(name)
  return [...state.instances.values()]
    .filter((instance) => instance.app === app && (consumer === null || instance.part.name === consumer))
    .filter((instance) => instance.part.uses.some((use) => use.part === part))
    .filter((instance) => !hasReported(state, instance, part, version))
}

const ended: ReadonlySet<string> = new Set(['stopped', 'succeeded', 'failed', 'gave-up'])

/** An instance without a status has not been heard of, and may run. */
function hasReported(state: ControlState, instance: InstanceRecord, part: string, version: number): boolean {
  const status = state.statuses.get(instance.id)
  if (status === undefined) return false
  // What stands still uses nothing; should a person let it go on, what it has is no longer good.
  if (ended.has(status.phase) || isSetAside(state, instance)) return true
  return pinOf(instance.secrets, part) === version && status.credentials?.includes(`${part}@${version}`) === true
}

/** Where a rotation stands and what it waits for, in a sentence; null when nothing is under way. */
export function describeRotation(state: ControlState, app: string, name: string): string | null {
  const credential = state.credentials.get(partKey(app, name))
  if (credential === undefined) return null
  const { part, consumer } = meaningOf(name)
  const { rotation, current } = credential
  switch (rotation.at) {
    case 'steady':
      return null
    case 'created':
      return `version ${rotation.to} is made; ${part} has to accept it${consumer === null ? '' : ` for ${consumer}`}`
    case 'overlap': {
      const waiting = waitingFor(state, app, name, current).map(({ id }) => id)
      const still = waiting.length === 0 ? '' : `; waits for ${waiting.slice(0, 5).join(', ')}`
      return `versions ${rotation.from} and ${current} are both valid${still}`
    }
    case 'revoking':
      return `version ${rotation.from} is being taken out of ${part}`
  }
}
