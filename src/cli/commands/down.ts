/** `stead down`: stops the app, also one whose platform has died and left its instances running. */
import { dirname } from 'node:path'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isSteadError, SteadError } from '../../base/index.ts'
import { findAppFile } from '../../evaluate/index.ts'
import type { Command } from '../command.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { type Home, homeOf, prepareHome } from '../home.ts'
import { lookAtMachine, type Machine } from '../machine.ts'
import { type Platform, startPlatform } from '../platform.ts'
import { findTarget, type Target } from '../target.ts'
import { print, Steps } from '../terminal.ts'

export const downCommand: Command = {
  name: 'down',
  usage: '[APP]',
  summary: 'stop it; its data stays',
  help: `  --delete-data  and delete its data, for good
  --json         as JSON
  APP is a directory (default: here), or the name of an app that \`stead serve\` runs.
  Exit code 3 when there was nothing to stop.
  Example: stead down examples/shop`,
  options: { 'delete-data': { type: 'boolean' } },
  argumentsMax: 1,
  run: (input) => down({ word: input.arguments[0] ?? null, json: input.json, deleteData: input.flag('delete-data') }),
}

/** Longest wait for the running platform to stop. */
const stopTimeoutMs = 90_000

async function down(options: { word: string | null; json: boolean; deleteData: boolean }): Promise<ExitCode> {
  const steps = new Steps(options.json)
  const target = await findTarget(options.word)
  if (target !== null && (await target.operator.platform()).mode === 'serve')
    return downOnDaemon(target, options, steps)
  const home = homeOf(dirname(await findAppFile(options.word ?? '.')))
  if (target !== null) {
    const { pid } = await target.operator.platform()
    await steps.run(`stop ${target.app}`, async () => {
      // It may be gone before it has answered.
      await target.operator.down(target.app).catch((error: unknown) => {
        if (!isSteadError(error) || error.code !== 'operator.not-running') throw error
      })
      await ended(pid)
    })
  }
  // What has never run has left nothing, and nothing is made for it.
  const known = existsSync(home.appDir)
  const left = known ? await endWhatIsLeft(home, options.deleteData, steps) : false
  const stopped = target !== null || left
  if (options.json) print(JSON.stringify({ stopped, dataDeleted: options.deleteData }))
  return stopped || (options.deleteData && known) ? exitCodes.ok : exitCodes.notRunning
}

/** The platform goes on; the app stops when what still uses it has let go. */
async function downOnDaemon(
  { operator, app }: Target,
  { json, deleteData }: { json: boolean; deleteData: boolean },
  steps: Steps,
): Promise<ExitCode> {
  const { wanted } = await operator.status(app)
  await steps.run(`stop ${app}`, () => operator.down(app))
  if (deleteData) await steps.run('delete the data', () => operator.remove(app))
  if (json) print(JSON.stringify({ stopped: wanted, dataDeleted: deleteData }))
  return wanted || deleteData ? exitCodes.ok : exitCodes.notRunning
}

/** What keeps a platform from starting and does not matter when everything is deleted anyway. */
const unreadable: readonly string[] = [
  'cli.damaged-state',
  'agent.corrupt-plan',
  'secrets.no-key',
  'secrets.wrong-key',
  'secrets.key-exposed',
  'secrets.bad-key-file',
]

/** Ends what a dead platform left running, and deletes the data if asked. Answers whether anything ran. */
async function endWhatIsLeft(home: Home, deleteData: boolean, steps: Steps): Promise<boolean> {
  prepareHome(home)
  const machine = await lookAtMachine(home)
  const platform = await startToStop(home, machine, steps).catch((error: unknown) => {
    const damaged = isSteadError(error) && unreadable.includes(error.code)
    if (!deleteData || !damaged) throw error
    for (const path of [home.storePath, `${home.storePath}-wal`, join(home.agentDir, 'plan.json'), home.keysDir])
      rmSync(path, { recursive: true, force: true })
    return startToStop(home, machine, steps)
  })
  const left = platform.apps().filter((app) => platform.view(app)?.app.wanted === true)
  for (const app of left) await platform.stop(app)
  await platform[Symbol.asyncDispose]()
  if (deleteData) {
    await steps.run('delete the data', async () => {
      const domains = join(home.agentDir, 'domains')
      for (const app of existsSync(domains) ? readdirSync(domains) : [])
        await machine.domain.destroy(join(domains, app))
      for (const directory of [home.appDir, home.runDir, home.keysDir])
        rmSync(directory, { recursive: true, force: true })
    })
  }
  return left.length > 0
}

/** Starting the agent finds what a dead platform left; stopping it ends that. */
function startToStop(home: Home, machine: Machine, steps: Steps): Promise<Platform> {
  return startPlatform({ home, machine, port: null, onNotice: (text) => steps.say(text), onFatal: () => {} })
}

async function ended(pid: number): Promise<void> {
  const untilMs = performance.now() + stopTimeoutMs
  while (performance.now() < untilMs) {
    try {
      process.kill(pid, 0)
    } catch {
      return
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new SteadError({
    code: 'cli.does-not-stop',
    message: `process ${pid} does not stop`,
    hint: `Look at it with \`stead status\`, or end it with \`kill -9 ${pid}\` and run \`stead down\` again.`,
  })
}
