/**
 * An editor that others wrote, through the one port, in every language that is here: Emacs with dap-mode, without a screen. What it
 * is told is the line that `stead debug` prints for it.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readlinkSync, realpathSync } from 'node:fs'
import { dirname } from 'node:path'
import { test } from 'node:test'
import { until } from '../src/debug/bench.conformance.ts'
import { listeningAgent } from '../src/debug/java/agent.ts'
import { findDebugpy, findNativeDebugger, findOnPath } from '../src/debug/index.ts'
import { Workbench } from './command-line.ts'
import {
  goProgram,
  javaProgram,
  nativeProgram,
  nodeProgram,
  preparedPython,
  probeLine,
  type Program,
  rubyProgram,
  startPlain,
} from './debug-programs.ts'
import { emacsCommand, needsEmacs, useDebugTools } from './debug-tools.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'

useDebugTools()

const missing = (isThere: boolean, what: string): string | false => (isThere ? false : `needs ${what}`)
const compiler = findOnPath('javac')
const javaTools = compiler === null ? '/usr/bin' : dirname(realpathSync(compiler))
const hasDebugpy = (await findDebugpy()) !== null
const hasNative = (await findNativeDebugger()) !== null

const languages: readonly (readonly [name: string, program: Program, missing: string | false])[] = [
  ['Node', nodeProgram(process.execPath), false],
  ['Python', preparedPython('/usr/bin/python3'), missing(hasDebugpy, 'debugpy: npm run debug-tools')],
  ['C', nativeProgram('/usr/bin/gcc'), missing(hasNative, 'gdb 14 or lldb-dap: scripts/setup.mjs --debuggers')],
  ['Go', goProgram(findOnPath('go') ?? 'go'), missing(findOnPath('dlv') !== null, 'delve: npm run debug-tools')],
  ['Java', javaProgram(javaTools, listeningAgent), missing(compiler !== null, 'javac')],
  ['Ruby', rubyProgram('/usr/bin/ruby', true), needsFile('/usr/bin/ruby', 'scripts/setup.mjs --debuggers')],
]

/** What the editor saw. */
interface Seen {
  readonly stopped: number
  readonly locals: readonly string[]
  readonly value: string
  readonly stepped: number
  readonly again: number
  readonly later: string
}

function drive(...args: readonly string[]): Promise<Seen> {
  const script = `${import.meta.dirname}/editors/drive-dap-mode.el`
  const {
    argv: [command = '', ...rest],
    env,
  } = emacsCommand(['-l', script, ...args])
  return new Promise((resolve, reject) => {
    execFile(command, rest, { env, timeout: 180_000 }, (error, stdout, stderr) => {
      if (error === null) resolve(JSON.parse(stdout))
      else reject(new Error(`Emacs: ${stderr.slice(-2000)}`))
    })
  })
}

for (const [name, program, lacks] of languages) {
  test(`Emacs debugs ${name}`, { skip: needsAll(needsRoot(), needsEmacs(), lacks) }, async () => {
    await using bench = new Workbench()
    const started = await startPlain(program)('ticking')
    try {
      const count = async (): Promise<number> => (await started.lines()).length
      await until(async () => (await count()) > 0, 'the program to print')
      const debug = bench.start('debug', '--pid', String(started.pid))
      await debug.until(/Emacs +M-: .*\n/)
      const form = /Emacs +M-: (.*)\n/.exec(debug.output())?.[1] ?? ''
      const source = `${readlinkSync(`/proc/${started.pid}/cwd`)}/app/ticking.${program.extension}`
      const seen = await drive(source, String(probeLine), 'count', form)
      assert.equal(seen.stopped, probeLine)
      assert.ok(seen.locals.includes('count'), seen.locals.join(', '))
      assert.notEqual(seen.stepped, seen.stopped)
      assert.equal(seen.again, probeLine)
      assert.ok(Number(seen.later) > Number(seen.value), `${seen.value}, ${seen.later}`)
      // Gone with a goodbye, and the program runs on.
      await until(() => debug.child.exitCode !== null, 'the command to end')
      assert.equal(debug.child.exitCode, 0, debug.output())
      const before = await count()
      await until(async () => (await count()) > before + 1, 'the program to run on')
    } finally {
      await started.end()
    }
  })
}
