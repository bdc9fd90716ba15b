/** `stead down`: stops the app, also one whose platform has died and left its instances running. */
import { dirname } from 'node:path'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { SteadError } from '../../base/index.ts'
import { findAppFile } from '../../evaluate/index.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { homeOf, prepareHome } from '../home.ts'
import { lookAtMachine } from '../machine.ts'
import { askJson, type Status } from '../operator.ts'
import { startPlatform } from '../platform.ts'
import { print, Steps } from '../terminal.ts'

export const downHelp = `stead down [DIR]     stop the app; its data stays

  --delete-data  and delete its data, for good
  --json         as JSON
  Exit code 3 when there was nothing to stop.
  Example: stead down examples/shop`

/** Longest wait for the running platform to stop. */
const stopTimeoutMs = 30_000

export async function down(options: { directory: string; json: boolean; deleteData: boolean }): Promise<ExitCode> {
  const home = homeOf(dirname(await findAppFile(options.directory)))
  const steps = new Steps(options.json)
  const running = await askJson<Status>(home.operatorSocket, 'GET', '/status')
  if (running !== null) {
    await steps.run(`stop ${running.app}`, async () => {
      await askJson(home.operatorSocket, 'POST', '/down')
      await ended(running.pid)
    })
  }
  prepareHome(home)
  const machine = await lookAtMachine(home)
  // Starting the agent finds what a dead platform left; stopping it ends that.
  const platform = await startPlatform({
    home,
    machine,
    port: null,
    onNotice: (text) => steps.say(text),
    onFatal: () => {},
  })
  const left = platform.apps().filter((app) => platform.view(app)?.instances.length !== 0)
  await platform[Symbol.asyncDispose]()
  if (options.deleteData) {
    await steps.run('delete the data', async () => {
      for (const app of platform.apps()) await machine.domain.destroy(join(home.agentDir, 'domains', app))
      rmSync(home.appDir, { recursive: true, force: true })
    })
  }
  const stopped = running !== null || left.length > 0
  if (options.json) print(JSON.stringify({ stopped, dataDeleted: options.deleteData }))
  return stopped || options.deleteData ? exitCodes.ok : exitCodes.notRunning
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
