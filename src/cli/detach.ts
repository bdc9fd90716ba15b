/** `stead up --detach`: the same command in the background, with its output in a file. Invariant: returns when the app runs, or with what kept it from running. */
import { spawn } from 'node:child_process'
import { mkdirSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SteadError } from '../base/index.ts'
import { operatorClient } from '../operator/index.ts'
import { type ExitCode, exitCodes } from './exit-codes.ts'
import { checkSpace, type Home, prepareHome } from './home.ts'
import { print, type Steps } from './terminal.ts'

/** Starts the same command again in the background and waits until it is ready or has failed. Throws `cli.start-failed`. */
export async function startDetached(
  options: { readonly directory: string; readonly port: number; readonly tls: boolean },
  home: Home,
  steps: Steps,
): Promise<ExitCode> {
  checkSpace(home)
  prepareHome(home)
  mkdirSync(home.runDir, { recursive: true })
  const logPath = join(home.appDir, 'up.log')
  const log = openSync(logPath, 'w', 0o600)
  const argv = [
    '--disable-warning=ExperimentalWarning',
    process.argv[1] ?? '',
    'up',
    options.directory,
    '--port',
    String(options.port),
    ...(options.tls ? ['--tls'] : []),
  ]
  const child = spawn(process.execPath, argv, { detached: true, stdio: ['ignore', log, log] })
  child.unref()
  const ended = new Promise<number>((resolve) => child.on('exit', (code) => resolve(code ?? 1)))
  return steps.run('start in the background', async (detail) => {
    for (;;) {
      const result = await Promise.race([ended, new Promise<null>((resolve) => setTimeout(() => resolve(null), 200))])
      if (result !== null) {
        const [sentence = '', ...hint] = lastWords(logPath)
        throw new SteadError({
          code: 'cli.start-failed',
          message: `the app did not start: ${sentence.replace('stead: ', '')}`,
          hint: [...hint.map((line) => line.trim()), `Everything it said is in ${logPath}.`].join('\n'),
        })
      }
      const operator = await operatorClient(home.operatorSocket)
      const [summary] = operator === null ? [] : (await operator.platform()).apps
      const status = operator === null || summary === undefined ? null : await operator.status(summary.app)
      if (status !== null && status.parts.every((part) => part.kind === 'job' || part.phase === 'ready')) {
        detail(`process ${child.pid}`)
        for (const url of status.urls) print(url)
        return exitCodes.ok
      }
    }
  })
}

/** The sentence and hint that a command in the background ended with, or its last line. */
function lastWords(logPath: string): string[] {
  const lines = readFileSync(logPath, 'utf8').trimEnd().split('\n')
  return lines.slice(lines.findLastIndex((line) => line.startsWith('stead: ')))
}
