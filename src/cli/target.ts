/**
 * Which running app a command means: the one `stead up` runs from a directory, or one of the daemon's, by its name or by
 * the directory it was deployed from. Invariant: a running `up` of the directory comes first.
 */
import { existsSync, realpathSync } from 'node:fs'
import { dirname } from 'node:path'
import { isSteadError, SteadError } from '../base/index.ts'
import { findAppFile } from '../evaluate/index.ts'
import { type OperatorClient, operatorClient } from '../operator/index.ts'
import { daemonHome, daemonSocket, homeOf, peopleSocket } from './home.ts'
import { remoteOperator, remoteTarget } from './remote/remote-target.ts'

/** A running platform and the app on it that is meant. */
export interface Target {
  readonly operator: OperatorClient
  readonly app: string
}

/** Whether a word of the command line names a directory: it has a slash or a dot, which no part and no app has. */
export function isDirectory(word: string): boolean {
  return /[./]/.test(word)
}

/** Finds the app that `word` names; null for the one here. Null when it does not run. Throws when there is no such app at all. */
export async function findTarget(word: string | null): Promise<Target | null> {
  const remote = word === null ? null : await remoteTarget(word)
  if (remote !== null) return remote
  const daemon = await daemonClient()
  const summaries = daemon === null ? [] : (await daemon.platform()).apps
  if (word !== null && daemon !== null && summaries.some(({ app }) => app === word))
    return { operator: daemon, app: word }
  const branch = word === null || isDirectory(word) ? null : await branchHere(word)
  if (branch !== null) return branch
  const directory = await appDirectory(word ?? '.').catch((error: unknown) => {
    // A server has no app file where the command is typed; with one app there is no doubt which is meant.
    const [only, ...more] = summaries
    if (word === null && only !== undefined && more.length === 0 && isSteadError(error)) return null
    if (daemon === null && isSteadError(error) && servedBefore()) throw notServed(word, error)
    throw summaries.length > 0 && isSteadError(error)
      ? noSuchApp(
          word,
          summaries.map(({ app }) => app),
          error,
        )
      : error
  })
  if (directory !== null) {
    const own = await operatorClient(homeOf(directory).operatorSocket)
    const [running] = own === null ? [] : (await own.platform()).apps
    if (own !== null && running !== undefined) return { operator: own, app: running.app }
  }
  const deployed = summaries.find(({ origin }) => directory === null || origin === realpathSync(directory))
  return daemon === null || deployed === undefined ? null : { operator: daemon, app: deployed.app }
}

/** The app of that name on the platform that `stead up` runs for the directory here: one of its branches; null for none. */
async function branchHere(word: string): Promise<Target | null> {
  const directory = await appDirectory('.').catch(() => null)
  const operator = directory === null ? null : await operatorClient(homeOf(directory).operatorSocket)
  const apps = operator === null ? [] : (await operator.platform()).apps
  return operator !== null && apps.some(({ app }) => app === word) ? { operator, app: word } : null
}

/** As `findTarget`. Throws `cli.not-running` when the app does not run. */
export async function needTarget(word: string | null): Promise<Target> {
  const target = await findTarget(word)
  if (target !== null) return target
  throw new SteadError({
    code: 'cli.not-running',
    message: `the app in ${word ?? '.'} does not run`,
    hint: `Start it with \`stead up ${word ?? '.'}\`.${servedHint()}`,
  })
}

/** Whether `stead serve` has ever run here; what it was given goes on when it ends. */
function servedBefore(): boolean {
  return existsSync(daemonHome().storePath)
}

/** For an app that is not there while `stead serve` does not run: it may be one of those that go on without it. */
export function servedHint(): string {
  return servedBefore()
    ? ' An app that `stead serve` was given goes on without it: start `stead serve` to reach it.'
    : ''
}

function notServed(word: string | null, cause: SteadError): SteadError {
  return new SteadError({
    code: 'cli.not-running',
    message: `\`stead serve\` does not run on this machine, and ${word ?? 'here'} is no directory of an app`,
    hint: 'Apps that it was given go on without it. Start it with `stead serve` to see or to stop them.',
    cause,
  })
}

/** The daemon of this machine; null when none runs. With STEAD_TOKEN in the environment it is asked as who holds it. */
export function daemonClient(): Promise<OperatorClient | null> {
  const token = process.env['STEAD_TOKEN'] ?? ''
  return token === '' ? operatorClient(daemonSocket()) : operatorClient(peopleSocket(), token)
}

/** The daemon of this machine, or of the server `on`. Throws `cli.not-running` when none runs. */
export async function needDaemon(on: string | null): Promise<OperatorClient> {
  const daemon = on === null ? await daemonClient() : await remoteOperator(on)
  if (daemon !== null) return daemon
  throw new SteadError({
    code: 'cli.not-running',
    message: `\`stead serve\` does not run on ${on ?? 'this machine'}`,
    hint:
      on === null
        ? 'Start it with `stead serve`; or run the app for yourself with `stead up`.'
        : 'Start it there with `stead serve`, or bring it with `stead deploy ssh://HOST`.',
  })
}

async function appDirectory(word: string): Promise<string> {
  return dirname(await findAppFile(word))
}

function noSuchApp(word: string | null, apps: readonly string[], cause: SteadError): SteadError {
  return new SteadError({
    code: 'cli.unknown-app',
    message:
      word === null
        ? 'several apps run here: which one?'
        : `no app called ${word} runs here, and ${cause.message.replace(/^There/, 'there')}`,
    hint: `It runs: ${apps.join(', ')}. Name one of them.`,
    cause,
  })
}

/** The platform that jobs are submitted to: the one that runs the directory here, else the daemon. */
export async function platformOfJobs(on: string | null): Promise<OperatorClient['batch']> {
  const here = on === null ? await findTarget(null).catch(() => null) : null
  return (here?.operator ?? (await needDaemon(on))).batch
}
