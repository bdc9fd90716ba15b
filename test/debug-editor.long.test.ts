/**
 * Editors that others wrote, through the one port, in every language that is here: Emacs with dap-mode and Neovim with nvim-dap, without
 * a screen. What they are told is the line that `stead debug` prints for them.
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
import { type Command, emacsCommand, needsEmacs, needsNeovim, neovimCommand, useDebugTools } from './debug-tools.ts'
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

/** What an editor is to look at, and what it is told to come in. */
interface Asked {
  readonly file: string
  readonly line: number
  readonly expression: string
  readonly command: string
}

interface Editor {
  readonly name: string
  readonly missing: string | false
  /** What is typed into it, in what `stead debug` prints. */
  readonly told: RegExp
  readonly command: (asked: Asked) => Command
}

const scripts = `${import.meta.dirname}/editors`

const editors: readonly Editor[] = [
  {
    name: 'Emacs',
    missing: needsEmacs(),
    told: /Emacs +M-: (.*)\n/,
    command: ({ file, line, expression, command }) =>
      emacsCommand(['-l', `${scripts}/drive-dap-mode.el`, file, String(line), expression, command]),
  },
  {
    name: 'Neovim',
    missing: needsNeovim(),
    told: /Neovim +:(.*)\n/,
    command(asked) {
      const { argv, env } = neovimCommand(`${scripts}/drive-nvim-dap.lua`)
      return { argv, env: { ...env, STEAD_DRIVE: JSON.stringify(asked) } }
    },
  },
]

function drive({ name, command }: Editor, asked: Asked): Promise<Seen> {
  const {
    argv: [program = '', ...args],
    env,
  } = command(asked)
  return new Promise((resolve, reject) => {
    execFile(program, args, { env, timeout: 180_000 }, (error, stdout, stderr) => {
      if (error === null) resolve(JSON.parse(stdout))
      else reject(new Error(`${name}: ${stderr.slice(-2000)}`))
    })
  })
}

for (const editor of editors) {
  for (const [language, program, lacks] of languages) {
    test(`${editor.name} debugs ${language}`, { skip: needsAll(needsRoot(), editor.missing, lacks) }, async () => {
      await using bench = new Workbench()
      const started = await startPlain(program)('ticking')
      try {
        const count = async (): Promise<number> => (await started.lines()).length
        await until(async () => (await count()) > 0, 'the program to print')
        const debug = bench.start('debug', '--pid', String(started.pid))
        await debug.until(/JetBrains/)
        const command = editor.told.exec(debug.output())?.[1] ?? ''
        const file = `${readlinkSync(`/proc/${started.pid}/cwd`)}/app/ticking.${program.extension}`
        const seen = await drive(editor, { file, line: probeLine, expression: 'count', command })
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
}
